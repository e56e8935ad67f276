// For `Headers` and `AbortSignal`, in connect's types and ours: whoever uses them needs neither
// "dom" in his `lib` nor `@types/node`.
/// <reference lib="dom" preserve="true" />

/**
 * Client of the camsvc camera service, and its API.
 *
 * @packageDocumentation
 */

export { Code, ConnectError } from "@connectrpc/connect";
export * from "./client.js";
export { type CameraError, errorFrom, type Reason, reasonOf, requestIdOf } from "./details.js";
export * from "./download.js";
export * from "./errors.js";
export * from "./events.js";
export * from "./gen/camapi/v1/camera_pb.js";
export * from "./gen/camapi/v1/camera_service_pb.js";
export { toJson } from "./json.js";
export * from "./live.js";
export type { ClientOptions, TlsOptions } from "./options.js";
export type { StreamOptions } from "./resume.js";
export type { OnRetry, Retried } from "./retry.js";
