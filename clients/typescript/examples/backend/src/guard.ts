/**
 * Who may talk to the backend, and what browsers may do with its answers.
 *
 * Any website can make a visitor's browser send requests here. A browser says for whom
 * (`Sec-Fetch-Site`, and `Origin` of all but a GET) and under which name (`Host`); all must be the
 * backend's own. The name counts because a stranger may have his own resolve to our address. What
 * says none of it is no browser, or one that reached us by HTTP at another address than localhost's:
 * there browsers send no `Sec-Fetch-Site`.
 */

import { isIP } from "node:net";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { BackendError } from "./problems.js";

const HEADERS = {
  "content-security-policy": [
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'",
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join("; "),
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** Guards all routes; `origins` are allowed besides localhost and IP addresses. */
export function guard(app: FastifyInstance, origins: string[]): void {
  const hosts = origins.map((origin) => new URL(origin).host);
  app.addHook("onRequest", async (request, reply) => {
    reply.headers(HEADERS);
    const { host = "", origin } = request.headers;
    if (!isAddress(host) && !hosts.includes(host)) {
      throw refused(`host "${host}" is not allowed here; --origin allows it`);
    }
    if (isOfAnotherSite(request) && !(origin !== undefined && origins.includes(origin))) {
      throw refused("a page of another website may not ask for this");
    }
    if (origin === undefined || origins.includes(origin)) return;
    if (origin !== `http://${host}` || !isAddress(host)) {
      throw refused(`origin "${origin}" is not allowed here; --origin allows it`);
    }
  });
}

/** Whether another website's page has asked. A link to the page itself may be anywhere. */
function isOfAnotherSite({ headers, method, routeOptions }: FastifyRequest): boolean {
  const site = headers["sec-fetch-site"];
  if (site === undefined || site === "same-origin" || site === "none") return false;
  const followed =
    headers["sec-fetch-mode"] === "navigate" && headers["sec-fetch-dest"] === "document";
  return !(followed && method === "GET" && routeOptions.url === "/");
}

function isAddress(host: string): boolean {
  const name = URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname : "";
  return name === "localhost" || isIP(name.replace(/^\[|\]$/g, "")) !== 0;
}

function refused(message: string): BackendError {
  return new BackendError(403, "ORIGIN_REFUSED", message);
}
