/** The kinds of errors. */

import { Code, ConnectError } from "@connectrpc/connect";
import { type CameraError, infoOf, type Reason, waitMsOf } from "./details.js";

/**
 * The error of a busy camera: what an error is after {@link isBusy}.
 *
 * @example
 * const show = ({ holder, waitMs }: BusyError) => console.log(holder?.captureId, waitMs);
 */
export interface BusyError extends CameraError {
  /** The capture that has the camera. Undefined: it is the queue, or the viewers, that are too many. */
  holder: Holder | undefined;
}

/**
 * The capture that has the camera. Times are by the service's clock.
 *
 * @example
 * const show = ({ captureId, startTime }: Holder) => console.log(captureId, "since", startTime);
 */
export interface Holder {
  captureId: string;
  /** The request id that its client gave. Empty: none. */
  requestId: string;
  startTime: Date | undefined;
  expectedEndTime: Date | undefined;
}

/**
 * The camera takes another still, or its queue is full: come back after `waitMs`. The client has
 * done so by itself for as long as the time-out allowed.
 *
 * @example
 * if (isBusy(error)) console.log(`busy until ${error.holder?.expectedEndTime}`, error.waitMs);
 */
export function isBusy(error: unknown): error is BusyError {
  if (!is(error, "CAMERA_BUSY", "QUEUE_FULL")) return false;
  Object.assign(error, { holder: holderOf(error.info) });
  return true;
}

/**
 * This program makes more calls in a second than the service's settings allow: come back after `waitMs`.
 * The client has done so by itself for as long as the time-out allowed.
 *
 * @example
 * if (isRateLimited(error)) console.warn("fewer calls, please; the next in", error.waitMs, "ms");
 */
export const isRateLimited = (error: unknown): error is CameraError => is(error, "RATE_LIMITED");

/**
 * The camera is unplugged, recovering, or has used up its attempts. The service brings it back.
 *
 * @example
 * if (isUnavailable(error)) console.log("it will be back, ask again in", error.waitMs, "ms");
 */
export const isUnavailable = (error: unknown): error is CameraError =>
  is(error, "CAMERA_UNAVAILABLE");

/**
 * The camera needs a person: the message says what to do. Afterwards, call `client.resetCamera`.
 *
 * @example
 * if (isFaulted(error)) console.error(error.rawMessage);
 */
export const isFaulted = (error: unknown): error is CameraError => is(error, "CAMERA_FAULTED");

/**
 * The service's disk is full. A person makes room.
 *
 * @example
 * if (isStorageFull(error)) console.error(error.rawMessage);
 */
export const isStorageFull = (error: unknown): error is CameraError => is(error, "STORAGE_FULL");

/**
 * The service's disk keeps no picture now: read-only, locked or broken. A person looks at it.
 *
 * @example
 * if (isStorageUnavailable(error)) console.error(error.rawMessage);
 */
export const isStorageUnavailable = (error: unknown): error is CameraError =>
  is(error, "STORAGE_UNAVAILABLE");

/**
 * The service cannot be reached, was cut off, or does not answer.
 *
 * @example
 * if (isUnreachable(error)) console.error("is the service running?", error.rawMessage);
 */
export function isUnreachable(error: unknown): error is ConnectError {
  return error instanceof ConnectError && error.code === Code.Unavailable && !infoOf(error);
}

function is(error: unknown, ...reasons: Reason[]): error is CameraError {
  const info = infoOf(error);
  const reason = info?.reason as Reason;
  if (!info || !reasons.includes(reason)) return false;
  const waitMs = waitMsOf(error as ConnectError);
  Object.assign(error as ConnectError, { reason, info: info.metadata, waitMs });
  return true;
}

function holderOf(info: Record<string, string>): Holder | undefined {
  const captureId = info["holder_capture_id"];
  if (captureId === undefined) return undefined;
  const [start, end] = [info["holder_start_time"], info["holder_expected_end_time"]];
  return {
    captureId,
    requestId: info["holder_request_id"] ?? "",
    startTime: start === undefined ? undefined : new Date(start),
    expectedEndTime: end === undefined ? undefined : new Date(end),
  };
}
