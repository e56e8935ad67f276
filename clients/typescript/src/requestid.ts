/** The request ids of captures that failed. */

import { ConnectError } from "@connectrpc/connect";

const ids = new WeakMap<ConnectError, string>();

/**
 * The id under which a failed capture can be asked for again: after a deadline or a lost connection
 * the picture may have been taken all the same. Undefined for the errors of other calls.
 *
 * @example
 * await client.capture({ camera: "sim0", requestId: requestIdOf(error) ?? "" });
 */
export function requestIdOf(error: unknown): string | undefined {
  return error instanceof ConnectError ? ids.get(error) : undefined;
}

/** Keeps the id of a request, if it has one, with its error. */
export function keepRequestId(error: ConnectError, request: object): void {
  if ("requestId" in request && typeof request.requestId === "string") {
    ids.set(error, request.requestId);
  }
}
