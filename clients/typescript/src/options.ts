/** The options of a client, and their checks. */

import { createSecureContext } from "node:tls";
import { bounded, known } from "./checks.js";
import { GIVE_UP_AFTER_MS, type OnRetry, RECONNECT_MS } from "./retry.js";

/**
 * The options of a client.
 *
 * @example
 * const options: ClientOptions = { tls: true, token: () => readFile("token", "utf8") };
 */
export interface ClientOptions {
  /** Encryption: `true`, or whom to trust and what to show. Default: none. */
  tls?: boolean | TlsOptions | undefined;
  /** Sent with each call as `authorization: Bearer ...`; a function is asked each time. */
  token?: string | (() => string | Promise<string>) | undefined;
  /** The largest message taken, in bytes. Default 64 MiB; `maxInlineBytes` of captures follows it. */
  readMaxBytes?: number | undefined;
  /**
   * For how long a call without `timeoutMs` is made again while the camera is busy or away, in
   * milliseconds; one with `timeoutMs` is until that. Default 30,000; 0: no call is.
   */
  giveUpAfterMs?: number | undefined;
  /** For how long a call tries to reach the service, in milliseconds. Default 10,000. */
  reconnectMs?: number | undefined;
  /** How long the service may be silent while calls wait, in milliseconds. Default 4,000. */
  silenceMs?: number | undefined;
  /** Told of each attempt that has failed and is made again; what it throws ends the call. */
  onRetry?: OnRetry | undefined;
}

/**
 * Certificates and keys, in PEM.
 *
 * @example
 * const tls: TlsOptions = { ca: await readFile("ca.pem", "utf8") };
 */
export interface TlsOptions {
  /** The authorities to trust. Default: those of Node. */
  ca?: string | undefined;
  /** The client's own certificate; it goes with `key`. */
  cert?: string | undefined;
  key?: string | undefined;
  /** The name on the service's certificate, where it is not the address's. */
  servername?: string | undefined;
}

export const SILENCE_MS = 4_000;
const OPTIONS = [
  ...["tls", "token", "readMaxBytes", "giveUpAfterMs", "reconnectMs", "silenceMs", "onRetry"],
];
const TLS_OPTIONS = ["ca", "cert", "key", "servername"];
const ADDRESS = /^([\w.-]+|\[[\da-f:.]+\]):\d{1,5}$/i;
const THIS_MACHINE = /^(localhost|127\.[\d.]+|\[::1\]):/i;

/** The options with their defaults. Throws what is wrong with them, or what OpenSSL says. */
export function checked(address: string, options: ClientOptions) {
  const { tls, token, readMaxBytes = 64 * 2 ** 20, silenceMs = SILENCE_MS } = options;
  const { giveUpAfterMs = GIVE_UP_AFTER_MS, reconnectMs = RECONNECT_MS, onRetry } = options;
  known("the options of a client", options, OPTIONS);
  const baseUrl = `${tls ? "https" : "http"}://${address}`;
  if (!ADDRESS.test(address) || !URL.canParse(baseUrl)) {
    throw new TypeError(`address "${address}" is not host:port, such as "127.0.0.1:50051"`);
  }
  if (token !== undefined && !tls && !THIS_MACHINE.test(address)) {
    throw new TypeError(`a token would travel to ${address} unencrypted: set tls, too`);
  }
  bounded("readMaxBytes", readMaxBytes, 1, 2 ** 32 - 1);
  bounded("giveUpAfterMs", giveUpAfterMs, 0, Infinity);
  bounded("reconnectMs", reconnectMs, 0, Infinity);
  bounded("silenceMs", silenceMs, 1, 2 ** 31 - 1);
  const trust = typeof tls === "object" ? tls : {};
  known("the options tls", trust, TLS_OPTIONS);
  createSecureContext(trust); // throws here rather than at each call
  const patience = { giveUpAfterMs, reconnectMs, onRetry };
  return { baseUrl, tls: trust, token, readMaxBytes, silenceMs, ...patience };
}
