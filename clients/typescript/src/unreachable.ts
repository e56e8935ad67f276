/**
 * Gives a service that cannot be reached one form, whatever connect or Node make of it. Connect also
 * calls Canceled both a lost connection and a call that its own caller has ended.
 */

import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { isUnreachable } from "./errors.js";

const SILENT = "camsvc-silent";

/** The error of calls whose service has fallen silent, for a transport to end them with. */
export function silence(silenceMs: number): ConnectError {
  const message = `nothing was received for ${silenceMs / 1000} s`;
  return new ConnectError(message, Code.Unavailable, { [SILENT]: "true" });
}

/** Whether the service did not answer, although the connection stood. */
export function isSilent(error: ConnectError): boolean {
  return isUnreachable(error) && error.metadata.has(SILENT);
}

/** Makes every sign of it one error: Unavailable, without a reason of the service. */
export function namingUnreachable(address: string): Interceptor {
  return (next) => async (request) => {
    const named = (reason: unknown): ConnectError => {
      const error = ConnectError.from(reason);
      if (request.signal.aborted || !isOfConnection(error)) return error;
      const what = error.metadata.has(SILENT) ? "does not answer" : "cannot be reached";
      const message = `the camera service at ${address} ${what}: ${error.rawMessage}`;
      return new ConnectError(message, Code.Unavailable, error.metadata, [], error);
    };
    async function* messages<T>(source: AsyncIterable<T>): AsyncGenerator<T> {
      try {
        yield* source;
      } catch (reason) {
        throw named(reason);
      }
    }
    try {
      const response = await next(request);
      return response.stream ? { ...response, message: messages(response.message) } : response;
    } catch (reason) {
      throw named(reason);
    }
  };
}

// How connect reports a stream that ended too early, and Node the network.
const CUT = /^(http\/2 stream closed|protocol error: (incomplete envelope|missing status))/;
const SYSTEM = /^(E[A-Z]+|ERR_HTTP2_\w+|ERR_STREAM_\w+)$/;

/** Whether an error comes from the transport. The service's own have a status. */
function isOfConnection({ code, metadata, rawMessage, cause }: ConnectError): boolean {
  if (metadata.has("grpc-status")) return false;
  const system = (cause as { code?: unknown } | undefined)?.code;
  return (
    [Code.Canceled, Code.Aborted, Code.Unavailable].includes(code) ||
    CUT.test(rawMessage) ||
    (code === Code.Internal && SYSTEM.test(String(system)))
  );
}
