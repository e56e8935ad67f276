/**
 * Which failed calls are made again, and when.
 *
 * By the contract's reasons only, never by a bare code. Where the service says when to come back,
 * that is when. The figures are those of both clients: `clients/behaviour.json`.
 */

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { clone, create, type DescMethodUnary, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { keepRequestId, reasonOf, waitMsOf } from "./details.js";
import { isUnreachable } from "./errors.js";
import type { CaptureRequest } from "./gen/camapi/v1/camera_service_pb.js";
import { isSilent } from "./unreachable.js";

export const GIVE_UP_AFTER_MS = 30_000;
export const RECONNECT_MS = 10_000;
export const BACKOFF = { initialMs: 100, maxMs: 250, jitter: 0.25 };
/** The time-out of calls that touch no device; they take milliseconds. */
export const QUICK_MS = 10_000;

const QUICK = ["deleteCapture", "getCamera", "getCapture", "listCameras", "listCaptures"];
const REFUSALS = ["CAMERA_BUSY", "QUEUE_FULL", "RATE_LIMITED", "CAMERA_UNAVAILABLE"];
// Not the same done twice as done once. All others read, set a state, or have a `requestId`.
const LOST_IS_FINAL = ["deleteCapture", "resetCamera"];
const REFUSED_IS_FINAL = ["resetCamera"];
const LEAST_WAIT_MS = 20;
const MOST_WAIT_MS = 2 ** 31 - 1; // a timer for longer ends at once
const ACCURACY_MS = 50; // by how much the service may see a deadline pass before its client does
const MOST_TIMEOUT_MS = 99_999_999; // the header has eight digits
const INLINE_MARGIN_BYTES = 64 * 1024; // the rest of a response that has a picture

/**
 * An attempt that has failed, and is made again.
 *
 * @example
 * const onRetry = ({ call, error, waitMs }: Retried) => console.warn(call, error.message, waitMs);
 */
export interface Retried {
  /** The RPC, such as "Capture". */
  call: string;
  /** Why. */
  error: ConnectError;
  /** After how long the next attempt is made, in milliseconds. */
  waitMs: number;
  /** How long ago the call began or, of a stream, something last came; in milliseconds. */
  elapsedMs: number;
}

/**
 * Is told of each attempt that is made again.
 *
 * @example
 * const onRetry: OnRetry = ({ error }) => console.warn(error.message);
 */
export type OnRetry = (retried: Retried) => void;

/** For how long calls are made again: while a camera is busy or away, and to reach the service. */
export interface Patience {
  giveUpAfterMs: number;
  reconnectMs: number;
  onRetry?: OnRetry | undefined;
}

export const FOR_EVER: Patience = { giveUpAfterMs: Infinity, reconnectMs: Infinity };

/** Decides after each failed attempt of one call how long to wait before the next. */
export class RetrySchedule {
  readonly #patience: Patience;
  readonly #call: string;
  readonly #endsAt: number;
  #begunAt = performance.now();
  #unreachableSince: number | undefined;
  #backoffMs = BACKOFF.initialMs;
  #refusedSince: number | undefined;

  /** `call` is its name, for `onRetry`. */
  constructor(patience: Patience, call: string, timeoutMs = Infinity) {
    this.#patience = patience;
    this.#call = call;
    this.#endsAt = performance.now() + timeoutMs;
  }

  /** How long the next attempt may take; undefined: as long as it takes. */
  get timeLeftMs(): number | undefined {
    if (this.#endsAt === Infinity) return undefined;
    return Math.max(1, Math.min(Math.ceil(this.#endsAt - performance.now()), MOST_TIMEOUT_MS));
  }

  /** Whether the call's time has passed, within the accuracy of two clocks. */
  get over(): boolean {
    return this.#endsAt - performance.now() <= ACCURACY_MS;
  }

  /** Begins again, as something was received; the call's own time-out stays. */
  reset(): void {
    this.#begunAt = performance.now();
    this.#unreachableSince = undefined;
    this.#backoffMs = BACKOFF.initialMs;
    this.#refusedSince = undefined;
  }

  /** How long to wait before the next attempt; undefined: the error is final. */
  waitMs(error: ConnectError): number | undefined {
    const waitMs = isUnreachable(error) ? this.#unreachable() : this.#refused(error);
    const now = performance.now();
    if (waitMs === undefined || now + waitMs >= this.#endsAt) return undefined;
    const elapsedMs = now - this.#begunAt;
    this.#patience.onRetry?.({ call: this.#call, error, waitMs, elapsedMs });
    return waitMs;
  }

  #unreachable(): number | undefined {
    this.#unreachableSince ??= performance.now();
    if (performance.now() - this.#unreachableSince >= this.#patience.reconnectMs) return undefined;
    const base = this.#backoffMs;
    this.#backoffMs = Math.min(BACKOFF.maxMs, 2 * base);
    return base * (1 + BACKOFF.jitter * (2 * Math.random() - 1));
  }

  #refused(error: ConnectError): number | undefined {
    this.#unreachableSince = undefined;
    this.#backoffMs = BACKOFF.initialMs;
    const named = waitMsOf(error);
    if (named === undefined || !REFUSALS.includes(reasonOf(error) ?? "")) return undefined;
    const wait = Math.max(LEAST_WAIT_MS, named);
    this.#refusedSince ??= performance.now();
    const refusedMs = performance.now() + wait - this.#refusedSince;
    const { giveUpAfterMs } = this.#patience;
    const bounded = this.#endsAt === Infinity || giveUpAfterMs === 0;
    return bounded && refusedMs > giveUpAfterMs ? undefined : Math.min(wait, MOST_WAIT_MS);
  }
}

/** A transport whose unary calls are made again where that helps, until their deadline. */
export function retrying(transport: Transport, patience: Patience, maxBytes: number): Transport {
  return {
    stream: (...call) => transport.stream(...call),
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const { localName } = method;
      const given = timeoutMs ?? (QUICK.includes(localName) ? QUICK_MS : 0);
      const schedule = new RetrySchedule(patience, method.name, given > 0 ? given : Infinity);
      const request = identified(method, input, maxBytes);
      let before = "";
      for (;;) {
        try {
          const left = schedule.timeLeftMs;
          return await transport.unary(method, signal, left, header, request, contextValues);
        } catch (reason) {
          const error = inTime(ConnectError.from(reason));
          keepRequestId(error, request);
          const once = isUnreachable(error) ? LOST_IS_FINAL : REFUSED_IS_FINAL;
          const final = once.includes(localName) || isSilent(error);
          const wait = final ? undefined : schedule.waitMs(error);
          if (wait === undefined) throw error;
          before = `; before that: ${error.rawMessage}`;
          await sleep(wait, undefined, { signal }).catch(() => {
            throw ConnectError.from(signal?.reason, Code.Canceled);
          });
        }
      }

      /** The service, too, watches the call's deadline, and may be the first to see it. */
      function inTime(error: ConnectError): ConnectError {
        if (error.code !== Code.DeadlineExceeded || signal?.aborted) return error;
        if (reasonOf(error) !== undefined && !schedule.over) return error;
        const within = given > 0 ? `within ${Number((given / 1000).toPrecision(3))} s` : "in time";
        const message = `${method.name} had no answer ${within}${before}`;
        return new ConnectError(message, Code.DeadlineExceeded);
      }
    },
  };
}

/** A capture's request with the id that makes all tries one capture. The caller's own stays as is. */
function identified<I extends DescMethodUnary["input"]>(
  method: DescMethodUnary<I>,
  input: MessageInitShape<I>,
  maxBytes: number,
): MessageInitShape<I> {
  if (!["capture", "captureGroup"].includes(method.localName)) return input;
  const request: MessageInitShape<I> = clone(method.input, create(method.input, input));
  const capture = request as Partial<CaptureRequest> & { requests?: CaptureRequest[] };
  for (const each of capture.requests ?? [capture]) each.requestId ||= randomUUID();
  if (!capture.requests) {
    capture.maxInlineBytes ??= BigInt(Math.max(1, maxBytes - INLINE_MARGIN_BYTES));
  }
  return request;
}
