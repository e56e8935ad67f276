/** The details of an error: its reason, when to come back, and of which request it is. */

import { create } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import {
  type ErrorInfo,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";
import { type Status, StatusSchema } from "./gen/google/rpc/status_pb.js";

const DOMAIN = "camsvc";
const TYPES = "type.googleapis.com/";
const requestIds = new WeakMap<ConnectError, string>();

/**
 * A reason that the service gives; what each means is listed at `CameraService` in the API.
 *
 * @example
 * const ours: Reason[] = ["INVALID_REQUEST", "UNSUPPORTED"];
 */
export type Reason =
  | ("CAMERA_BUSY" | "QUEUE_FULL" | "STORAGE_FULL" | "CAMERA_UNAVAILABLE" | "CAMERA_FAULTED")
  | ("CAMERA_NOT_FOUND" | "CAPTURE_NOT_FOUND" | "CAPTURE_TIMEOUT" | "UNSUPPORTED")
  | ("INVALID_REQUEST" | "REQUEST_ID_REUSED" | "UNAUTHENTICATED" | "PERMISSION_DENIED")
  | ("STORAGE_UNAVAILABLE" | "RATE_LIMITED");

/**
 * An error of the service, its details read: what an error is after `isFaulted` and its like.
 *
 * @example
 * const show = ({ reason, info }: CameraError) => console.error(reason, info["camera"]);
 */
export interface CameraError extends ConnectError {
  /** Why. */
  reason: Reason;
  /** What goes with the reason, such as `camera` and `capture_id`. */
  info: Record<string, string>;
  /** When to come back, in milliseconds. Undefined: the service names no time. */
  waitMs: number | undefined;
}

/**
 * The reason of an error. Undefined when it is not the service's own: a lost connection, a deadline
 * that passed, a proxy's answer.
 *
 * @example
 * if (reasonOf(error) === "CAMERA_NOT_FOUND") console.error("is that the camera's id?");
 */
export function reasonOf(error: unknown): Reason | undefined {
  return infoOf(error)?.reason as Reason | undefined;
}

/**
 * The error that a `google.rpc.Status` stands for: `Camera.fault`, `LiveStatus.error`, one camera's
 * part in a CaptureGroup.
 *
 * @example
 * if (outcome.case === "error" && isBusy(errorFrom(outcome.value))) console.log("it was busy");
 */
export function errorFrom({ code, message, details }: Status): ConnectError {
  const error = new ConnectError(message, code);
  error.details = details.map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
    value,
  }));
  return error;
}

/** The other way round. */
export function statusOf({ code, rawMessage: message, details }: ConnectError): Status {
  const received = details.filter((detail) => "type" in detail);
  const packed = received.map(({ type, value }) => ({ typeUrl: TYPES + type, value }));
  return create(StatusSchema, { code, message, details: packed });
}

/** What the service says of an error. */
export function infoOf(error: unknown): ErrorInfo | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  return error.findDetails(ErrorInfoSchema).find(({ domain }) => domain === DOMAIN);
}

/** When to come back, in milliseconds; undefined: the service names no time. */
export function waitMsOf(error: ConnectError): number | undefined {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return delay && Math.ceil(Number(delay.seconds) * 1000 + delay.nanos / 1e6);
}

/**
 * The id under which a failed capture can be asked for again: after a deadline or a lost connection
 * the picture may have been taken all the same. Undefined for the errors of other calls.
 *
 * @example
 * await client.capture({ camera: "sim0", requestId: requestIdOf(error) ?? "" });
 */
export function requestIdOf(error: unknown): string | undefined {
  return error instanceof ConnectError ? requestIds.get(error) : undefined;
}

/** Keeps the id of a request, if it has one, with its error. */
export function keepRequestId(error: ConnectError, request: object): void {
  if ("requestId" in request && typeof request.requestId === "string") {
    requestIds.set(error, request.requestId);
  }
}
