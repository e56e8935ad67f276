/** Streams that continue after the connection, or the service, was lost. */

import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { bounded, known } from "./checks.js";
import { isUnreachable } from "./errors.js";
import { FOR_EVER, GIVE_UP_AFTER_MS, type OnRetry, RECONNECT_MS, RetrySchedule } from "./retry.js";
import { isSilent } from "./unreachable.js";

/** How often a viewer gets the status again while the stream is lost. */
export const STATUS_REPEAT_MS = 1000;

/**
 * What the streams take in addition to the request.
 *
 * @example
 * const options: StreamOptions = { signal: AbortSignal.timeout(60_000) };
 */
export interface StreamOptions {
  /** Ends the stream, and so the loop over it: without an error, unless something was to be whole. */
  signal?: AbortSignal | undefined;
  /**
   * For how long it is tried to reach a service that was never reached, in milliseconds; for a
   * download, how long without progress. Default 10,000; Infinity: for ever.
   */
  reconnectMs?: number | undefined;
  /** Told of each attempt that has failed and is made again; what it throws ends the stream. */
  onRetry?: OnRetry | undefined;
}

/** Refuses options that do not exist; `more` are those that only one of the streams has. */
export function checkStreamOptions(options: StreamOptions, ...more: string[]): void {
  known("the options of a stream", options, ["signal", "reconnectMs", "onRetry", ...more]);
  bounded("reconnectMs", options.reconnectMs ?? 0, 0, Infinity);
}

/**
 * Yields a stream's messages and opens it again whenever it is lost; the errors in between are
 * yielded too. Errors that are final are thrown. An abort ends it quietly.
 *
 * An endless stream that was connected once is tried for ever; a finite one only while it advances.
 */
export async function* resumed<T>(
  open: (onHeader: () => void) => AsyncIterable<T>,
  signal: AbortSignal,
  call: string,
  { reconnectMs = RECONNECT_MS, onRetry }: StreamOptions,
  endless = true,
): AsyncGenerator<T | ConnectError, void> {
  const patience = { reconnectMs, giveUpAfterMs: GIVE_UP_AFTER_MS, onRetry };
  let schedule = new RetrySchedule(patience, call);
  const afterwards = endless ? new RetrySchedule({ ...FOR_EVER, onRetry }, call) : schedule;
  while (!signal.aborted) {
    let error = new ConnectError("the camera service has ended the stream", Code.Unavailable);
    let [begun, advanced] = [false, false];
    try {
      for await (const message of open(() => (begun = true))) {
        advanced = true;
        schedule = afterwards;
        schedule.reset();
        yield message;
      }
    } catch (reason) {
      if (signal.aborted) return;
      error = ConnectError.from(reason);
    }
    if (begun && isUnreachable(error)) schedule = afterwards;
    const frozen = !endless && !advanced && isSilent(error);
    const wait = frozen ? undefined : schedule.waitMs(error);
    if (wait === undefined) throw error;
    yield error;
    await sleep(wait, undefined, { signal }).catch(() => {});
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
