/** Tells a lost connection from a call that its own caller has ended: connect names both Canceled. */

import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";

/** Makes every sign of a lost connection one error: Unavailable, without a reason of the service. */
export function namingTheLost(address: string): Interceptor {
  return (next) => async (request) => {
    const named = (reason: unknown): ConnectError => {
      const error = ConnectError.from(reason);
      if (request.signal.aborted || !isOfConnection(error)) return error;
      const message = `connection to ${address} failed: ${error.rawMessage}`;
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

// How connect tells of a stream that ended too early, and Node of the network.
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
