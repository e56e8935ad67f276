/**
 * What goes between the backend and its page: the JSON of the HTTP API, and the messages of the
 * socket. Both sides are checked against it.
 *
 * Ages and waits are spans in milliseconds, as the browser's clock may be another; times, for people
 * to read, are ISO 8601.
 */

/** A camera to choose. */
export interface CameraView {
  camera: string;
  driver: string;
  model: string;
}

/** A picture that was taken. */
export interface CaptureView {
  captureId: string;
  requestId: string;
  camera: string;
  takenAt: string;
  mimeType: string;
  /** 0: unknown. */
  widthPx: number;
  heightPx: number;
  sizeBytes: number;
  /** Null: unknown. */
  exposureMs: number | null;
  /** The name to save it under. */
  fileName: string;
}

export type ControlValueView = boolean | number | string;

/** Something that can be set, or read. */
export interface ControlView {
  name: string;
  description: string;
  /** In UCUM notation, such as "us" and "[diop]". */
  unit: string;
  type: "bool" | "int" | "double" | "string";
  value: ControlValueView | null;
  minimum: number | null;
  maximum: number | null;
  increment: number | null;
  /** The only values, where there are any. */
  allowed: ControlValueView[];
  writable: boolean;
}

/** The body of every answer that is an error. */
export interface ProblemView {
  /** The service's reason, such as "CAMERA_BUSY", or one of the backend's own. */
  reason: string;
  /** For people. */
  message: string;
  /** When to come back. Null: that would not help, or nobody knows. */
  waitMs: number | null;
  /** The capture that has the camera, and when it should be over. */
  holder: { captureId: string; remainingMs: number | null } | null;
}

/** What may be expected of the live view. `none`: there is none, and will be none. */
export type Live =
  | ("starting" | "live" | "paused" | "recovering" | "offline")
  | ("unreachable" | "none");

/** How a camera is: sent at each change, and once a second while it is not live. */
export interface StateView {
  live: Live;
  /** Why, as the service says it. Empty while live. */
  reason: string;
  /** For how long it has been so, as far as is known. */
  sinceMs: number;
  /** The age of the camera's last frame, shown here or not. Null: none so far. */
  lastFrameAgeMs: number | null;
  /** The still that has the camera. `remainingMs`: null when nobody knows. */
  busy: { requestId: string; remainingMs: number | null } | null;
  /** What a person should look at soon. */
  warnings: string[];
}

/** A step in the life of a still. */
export interface StepView {
  step: "queued" | "started" | "progress" | "retrying" | "recovering" | "succeeded";
  requestId: string;
  /** Of "progress". */
  percent: number | null;
  /** Of "queued": 1 is next. */
  place: number | null;
  /** Of "succeeded". */
  capture: CaptureView | null;
}

/**
 * The text messages to the page. `ready`: steps are sent from now on, so that lists fetched
 * after this miss nothing. `beat`: comes every `BEAT_MS`, whatever happens.
 */
export type Message =
  | { type: "state"; state: StateView }
  | { type: "step"; step: StepView }
  | { type: "ready" }
  | { type: "beat" };

/**
 * A binary message is a frame: its age in milliseconds and how many were passed over so far, as
 * big-endian 64-bit floats; then the JPEG. The page answers `DRAWN` when it has drawn it.
 */
export const FRAME_HEADER_BYTES = 16;
export const DRAWN = "drawn";
export const BEAT_MS = 2000;
