/**
 * Gives a service that cannot be reached one form, whatever connect or Node make of it. Connect also
 * calls Canceled both a lost connection and a call that its own caller has ended.
 */

import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { isUnreachable } from "./errors.js";

const SILENT = "camsvc-silent";
const MOST_CHARACTERS = 1000; // of a text: it ends in logs and on screens

/**
 * The error of calls whose connection has fallen silent, for a transport to end them with;
 * `answersAnew`: over another one the service answers.
 */
export function silence(silenceMs: number, answersAnew: boolean): ConnectError {
  const message = `nothing was received for ${silenceMs / 1000} s`;
  return new ConnectError(message, Code.Unavailable, { [SILENT]: String(!answersAnew) });
}

/** Whether the service did not answer, although the connection stood, nor over another one. */
export function isSilent(error: ConnectError): boolean {
  return isUnreachable(error) && error.metadata.get(SILENT) === "true";
}

/** Makes every sign of it one error: Unavailable, without a reason of the service. Shortens texts. */
export function namingUnreachable(address: string): Interceptor {
  return (next) => async (request) => {
    const named = (reason: unknown): ConnectError => {
      const error = shortened(ConnectError.from(reason));
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

/** With a text of bounded length, whoever wrote it. */
function shortened(error: ConnectError): ConnectError {
  const { rawMessage } = error;
  if (rawMessage.length <= MOST_CHARACTERS) return error;
  const text = `${rawMessage.slice(0, MOST_CHARACTERS - 1)}…`;
  const short = new ConnectError(text, error.code, error.metadata, undefined, error.cause);
  return Object.assign(short, { details: error.details });
}
