/** Which failures pass by themselves, when to try again, and the interceptor that does it. */

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { clone, isMessage } from "@bufbuild/protobuf";
import { ConnectError, type Interceptor, type UnaryRequest } from "@connectrpc/connect";
import { reasonOf, waitMsOf } from "./details.js";
import { isLost } from "./errors.js";
import * as api from "./gen/camapi/v1/camera_service_pb.js";

const PASSING = ["CAMERA_BUSY", "QUEUE_FULL", "CAMERA_UNAVAILABLE"];
// Not the same done twice as done once. All others read, set a state, or have a `request_id`.
const NOT_REPEATED = ["deleteCapture", "resetCamera"];
const LEAST_WAIT_MS = 50;
const MOST_WAIT_MS = 250; // a service that is back is found at once
const INLINE_MARGIN_BYTES = 64 * 1024; // the rest of a response that has a picture
const MOST_TIMEOUT_MS = 99_999_999; // the header has eight digits

/** Whether what failed may go well later, without anybody's doing. */
export function passes(error: ConnectError): boolean {
  return isLost(error) || PASSING.includes(reasonOf(error) ?? "");
}

/** The time until the next try: the service's own, else growing with the failures (from 0 on). */
export function delayMs(error: ConnectError, failures: number): number {
  return Math.max(LEAST_WAIT_MS, waitMsOf(error) ?? Math.min(100 * failures, MOST_WAIT_MS));
}

/** Repeats unary calls until their deadline; without one, for `patienceMs` after the first failure. */
export function retrying(patienceMs: number, readMaxBytes: number): Interceptor {
  return (next) => async (request) => {
    if (request.stream) return next(request);
    const call = { ...request, message: identified(request, readMaxBytes) };
    const timeout = call.header.get("grpc-timeout"); // "<n>m", as connect writes it
    let end = timeout === null ? undefined : performance.now() + Number.parseFloat(timeout);
    for (let failures = 0; ; failures++) {
      if (timeout !== null && end !== undefined) {
        const left = Math.ceil(Math.min(end - performance.now(), MOST_TIMEOUT_MS));
        call.header.set("grpc-timeout", `${Math.max(left, 1)}m`);
      }
      try {
        return await next(call);
      } catch (reason) {
        const error = ConnectError.from(reason);
        const wait = delayMs(error, failures);
        const refused = Number(error.metadata.get("grpc-retry-pushback-ms")) < 0;
        end ??= performance.now() + patienceMs;
        const repeated = passes(error) && !refused && !NOT_REPEATED.includes(call.method.localName);
        if (!repeated || performance.now() + wait >= end) throw error;
        await sleep(wait, undefined, { signal: call.signal });
      }
    }
  };
}

/** A capture's request with the id that makes all tries one capture. The caller's own stays as is. */
function identified({ message }: UnaryRequest, readMaxBytes: number): UnaryRequest["message"] {
  if (isMessage(message, api.CaptureRequestSchema)) {
    const capture = clone(api.CaptureRequestSchema, message);
    capture.requestId ||= randomUUID();
    capture.maxInlineBytes ??= BigInt(Math.max(1, readMaxBytes - INLINE_MARGIN_BYTES));
    return capture;
  }
  if (isMessage(message, api.CaptureGroupRequestSchema)) {
    const group = clone(api.CaptureGroupRequestSchema, message);
    for (const capture of group.requests) capture.requestId ||= randomUUID();
    return group;
  }
  return message;
}
