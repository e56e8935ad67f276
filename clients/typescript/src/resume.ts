/** Streams that go on after the connection, or the service, was lost. */

import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { delayMs, passes } from "./retry.js";

/**
 * What the streams take beside the request.
 *
 * @example
 * const options: StreamOptions = { signal: AbortSignal.timeout(60_000) };
 */
export interface StreamOptions {
  /** Ends the stream, and so the loop over it: without an error, unless something was to be whole. */
  signal?: AbortSignal | undefined;
}

/**
 * Yields a stream's messages and opens it anew whenever it is lost, for ever; the errors in between
 * are yielded too. Other errors are thrown. An abort ends it quietly.
 */
export async function* resumed<T>(
  open: () => AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T | ConnectError, void> {
  for (let failures = 0; !signal.aborted; failures++) {
    let error = new ConnectError("the service ended the stream", Code.Unavailable);
    try {
      for await (const message of open()) {
        failures = 0;
        yield message;
      }
    } catch (reason) {
      if (signal.aborted) return;
      error = ConnectError.from(reason);
      if (!passes(error)) throw error;
    }
    yield error;
    await sleep(delayMs(error, failures), undefined, { signal }).catch(() => {});
  }
}

/**
 * Runs a generator with a signal of its own, which aborts when the caller's does and when the loop
 * over it is left: connect does not cancel a call on `break`. Also `return()` by hand ends it at
 * once, where a plain generator would first wait for its next message.
 */
export function stoppable<T>(
  generate: (signal: AbortSignal) => AsyncGenerator<T, void>,
  callers: AbortSignal | undefined,
): AsyncGenerator<T, void> {
  const own = new AbortController();
  const stop = () => own.abort(callers?.reason);
  async function* run() {
    if (callers?.aborted) stop();
    callers?.addEventListener("abort", stop, { once: true });
    try {
      yield* generate(own.signal);
    } finally {
      callers?.removeEventListener("abort", stop);
      own.abort();
    }
  }
  const generator = run();
  const end = generator.return.bind(generator);
  generator.return = (value) => {
    own.abort();
    return end(value);
  };
  return generator;
}
