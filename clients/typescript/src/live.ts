import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import type { CameraClient } from "./client.js";
import { statusOf } from "./details.js";
import { isUnreachable } from "./errors.js";
import { type LiveFrame, LiveStatus_State, LiveStatusSchema } from "./gen/camapi/v1/camera_pb.js";
import type { LiveViewRequestSchema, LiveViewResponse } from "./gen/camapi/v1/camera_service_pb.js";
import { newest } from "./newest.js";
import {
  checkStreamOptions,
  resumed,
  STATUS_REPEAT_MS,
  type StreamOptions,
  stoppable,
} from "./resume.js";

/**
 * The camera, and the size, rate and quality of its frames.
 *
 * @example
 * const request: LiveViewInit = { camera: "sim0", maxWidthPx: 640, maxFps: 10 };
 */
export type LiveViewInit = MessageInitShape<typeof LiveViewRequestSchema> & { camera: string };

/**
 * The service itself cannot be reached, or does not answer; frames will go on by themselves.
 *
 * @example
 * const show = ({ reason }: Unreachable) => console.error(reason);
 */
export interface Unreachable {
  /** For people. */
  reason: string;
  error: ConnectError;
  /** When the camera's last frame was taken, by the service's clock. Undefined: none so far. */
  lastFrameTime: LiveFrame["acquisitionTime"];
}

/**
 * A frame, or why there is none: the service's status, or that it cannot be reached.
 *
 * @example
 * const data = (item: LiveItem) => (item.case === "frame" ? item.value.data : undefined);
 */
export type LiveItem =
  | Exclude<LiveViewResponse["payload"], { case: undefined }>
  | { case: "unreachable"; value: Unreachable };

/**
 * Shows what the camera sees, for as long as the loop runs: through stills, faults of the camera
 * and restarts of the service. While the service itself cannot be reached, `unreachable` comes about
 * once a second. Throws only when the service refuses, or cannot be reached at the beginning for
 * `reconnectMs`.
 *
 * The newest frame wins: a loop that is too slow misses frames (`framesDropped` says how many)
 * instead of falling behind. If it is always slow, name a `maxFps`: then they are not even sent.
 *
 * Leaving the loop ends the call, and so does the signal, from outside; neither is an error.
 *
 * @example
 * for await (const { case: kind, value } of liveView(client, { camera: "top", maxFps: 10 })) {
 *   if (kind === "frame") show(value.data, value.mimeType);
 *   else console.log(kind === "status" ? LiveStatus_State[value.state] : kind, value.reason);
 * }
 */
export function liveView(
  client: Pick<CameraClient, "liveView">,
  request: LiveViewInit,
  options: StreamOptions = {},
): AsyncGenerator<LiveItem, void> {
  checkStreamOptions(options);
  return stoppable((own) => newest(items(client, request, own, options), own), options.signal);
}

// When frames have come, by `performance.now()`.
const arrivals = new WeakMap<LiveFrame, number>();

/**
 * How old a frame of {@link liveView} is now, in milliseconds: as the service said when it sent it,
 * and the time since. No wall clock is asked; how long it was on its way is not known. Undefined: the
 * service is older than this client, and does not say.
 *
 * @example
 * if (kind === "frame") console.log(`${frameAgeMs(value)} ms old`);
 */
export function frameAgeMs(frame: LiveFrame): number | undefined {
  if (!frame.age) return undefined;
  const now = performance.now();
  const sentMs = Number(frame.age.seconds) * 1000 + frame.age.nanos / 1e6;
  return sentMs + now - (arrivals.get(frame) ?? now);
}

async function* items(
  client: Pick<CameraClient, "liveView">,
  request: LiveViewInit,
  signal: AbortSignal,
  options: StreamOptions,
): AsyncGenerator<LiveItem, void> {
  const open = (onHeader: () => void) => client.liveView(request, { signal, onHeader });
  let reported = { kind: "", at: 0 };
  let lastFrameTime: LiveFrame["acquisitionTime"];
  let [dropped, droppedBefore] = [0n, 0n]; // on this connection, and on those before it
  for await (const item of resumed(open, signal, "LiveView", options)) {
    if (item instanceof ConnectError) {
      [dropped, droppedBefore] = [0n, droppedBefore + dropped];
      const kind = isUnreachable(item) ? "unreachable" : "status";
      const now = performance.now();
      if (reported.kind === kind && now - reported.at < STATUS_REPEAT_MS) continue;
      reported = { kind, at: now };
      const [reason, state] = [item.rawMessage, LiveStatus_State.RECOVERING];
      const status = { state, reason, error: statusOf(item), lastFrameTime };
      if (kind === "status") yield { case: kind, value: create(LiveStatusSchema, status) };
      else yield { case: kind, value: { reason, error: item, lastFrameTime } };
      continue;
    }
    reported = { kind: "", at: 0 };
    if (item.payload.case === "frame") {
      const frame = item.payload.value;
      arrivals.set(frame, performance.now());
      lastFrameTime = frame.acquisitionTime;
      dropped = frame.framesDropped;
      frame.framesDropped += droppedBefore;
      yield item.payload;
    } else if (item.payload.case === "status") yield item.payload;
  }
}
