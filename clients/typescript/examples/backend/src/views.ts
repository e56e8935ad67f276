/** The service's messages as the page wants them. */

import {
  type Camera,
  type Capture,
  type CaptureEvent,
  type Control,
  Control_Access,
  Control_Type,
  CaptureEvent_Type as Type,
} from "@camsvc/client";
import type {
  CameraView,
  CaptureView,
  ControlValueView,
  ControlView,
  StepView,
} from "../page/wire.js";
import { BackendError } from "./problems.js";

/** A Timestamp or a Duration, as the client's messages have them. */
export type Span = { seconds: bigint; nanos: number };

/** In milliseconds; of a Timestamp, since 1970. */
export function msOf({ seconds, nanos }: Span): number {
  return Number(seconds) * 1000 + nanos / 1e6;
}

export function cameraView({ camera, driver, model }: Camera): CameraView {
  return { camera, driver, model };
}

export function captureView(capture: Capture): CaptureView {
  const { captureId, requestId, camera, image, exposureDuration: exposure } = capture;
  const time = capture.acquisitionTime ?? capture.createTime;
  const takenAt = new Date(time ? msOf(time) : 0).toISOString();
  const mimeType = image?.mimeType ?? "";
  const stamp = takenAt.replace(/\.\d+Z$/, "").replaceAll(":", "-");
  return {
    ...{ captureId, requestId, camera, takenAt, mimeType },
    widthPx: image?.widthPx ?? 0,
    heightPx: image?.heightPx ?? 0,
    sizeBytes: Number(image?.sizeBytes ?? 0),
    exposureMs: exposure ? msOf(exposure) : null,
    fileName: `${camera}_${stamp}_${captureId}.${extension(mimeType)}`,
  };
}

/** What to call a file of a type: "jpg", "png", "cr2", "dng". */
function extension(mimeType: string): string {
  const last = /^image\/(?:x-)?(?:\w+-)*(\w+)$/.exec(mimeType)?.[1] ?? "bin";
  return last === "jpeg" ? "jpg" : last;
}

const TYPES: Record<Control_Type, ControlView["type"]> = {
  [Control_Type.UNSPECIFIED]: "string",
  [Control_Type.BOOL]: "bool",
  [Control_Type.INT]: "int",
  [Control_Type.DOUBLE]: "double",
  [Control_Type.STRING]: "string",
};

export function controlView(control: Control): ControlView {
  const { name, description, unit, value, range, increment, allowedValues, access } = control;
  return {
    ...{ name, description, unit },
    type: TYPES[control.type],
    value: plainOf(value),
    minimum: range?.minimum ?? null,
    maximum: range?.maximum ?? null,
    increment: increment ?? null,
    allowed: allowedValues.map(plainOf).filter((allowed) => allowed !== null),
    writable: access === Control_Access.WRITE || access === Control_Access.READ_WRITE,
  };
}

function plainOf(value: Control["value"]): ControlValueView | null {
  const plain = value?.kind.value;
  return typeof plain === "bigint" ? Number(plain) : (plain ?? null);
}

/** The other way round: a whole number may be set where any number may. */
export function settingOf(name: string, value: unknown) {
  if (typeof value === "boolean") return { name, value: kind("boolValue", value) };
  if (typeof value === "string") return { name, value: kind("stringValue", value) };
  if (Number.isSafeInteger(value)) return { name, value: kind("intValue", BigInt(Number(value))) };
  if (typeof value === "number") return { name, value: kind("doubleValue", value) };
  const message = `control ${name}: allowed are a number, a text, true and false`;
  throw new BackendError(400, "INVALID_REQUEST", message);
}

function kind<Case extends string, Value>(name: Case, value: Value) {
  return { kind: { case: name, value } };
}

const STEPS: Partial<Record<Type, StepView["step"]>> = {
  [Type.QUEUED]: "queued",
  [Type.STARTED]: "started",
  [Type.PROGRESS]: "progress",
  [Type.RETRYING]: "retrying",
  [Type.RECOVERING]: "recovering",
  [Type.SUCCEEDED]: "succeeded",
};

/** An event for a page. How a still has failed is the answer to its request. */
export function stepView(event: CaptureEvent): StepView | undefined {
  const step = STEPS[event.type];
  if (!step) return undefined;
  const { requestId, progressPercent: percent = null, queuePosition: place = null } = event;
  const capture = step === "succeeded" && event.capture ? captureView(event.capture) : null;
  return { step, requestId, percent, place, capture };
}
