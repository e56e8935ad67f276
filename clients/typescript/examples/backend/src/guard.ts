/**
 * Who may talk to the backend, and what browsers may do with its answers.
 *
 * Any website can make a visitor's browser send requests here. A browser says for whom (`Origin`)
 * and under which name (`Host`); both must be the backend's own. The name counts because a stranger
 * may have his own resolve to our address. What sends no `Origin` is no other website's page.
 */

import { isIP } from "node:net";
import type { FastifyInstance } from "fastify";
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
  app.addHook("onRequest", async ({ headers: { host = "", origin } }, reply) => {
    reply.headers(HEADERS);
    if (!isAddress(host) && !hosts.includes(host)) {
      throw refused(`host "${host}" is not allowed here; --origin allows it`);
    }
    if (origin === undefined || origins.includes(origin)) return;
    if (origin !== `http://${host}` || !isAddress(host)) {
      throw refused(`origin "${origin}" is not allowed here; --origin allows it`);
    }
  });
}

function isAddress(host: string): boolean {
  const name = URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname : "";
  return name === "localhost" || isIP(name.replace(/^\[|\]$/g, "")) !== 0;
}

function refused(message: string): BackendError {
  return new BackendError(403, "ORIGIN_REFUSED", message);
}
