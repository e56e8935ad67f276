import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import type { CameraClient } from "./client.js";
import { statusOf } from "./details.js";
import { type LiveFrame, LiveStatus_State, LiveStatusSchema } from "./gen/camapi/v1/camera_pb.js";
import type { LiveViewRequestSchema, LiveViewResponse } from "./gen/camapi/v1/camera_service_pb.js";
import { newest } from "./newest.js";
import { resumed, type StreamOptions, stoppable } from "./resume.js";

/**
 * The camera, and the size, rate and quality of its frames.
 *
 * @example
 * const request: LiveViewInit = { camera: "sim0", maxWidthPx: 640, maxFps: 10 };
 */
export type LiveViewInit = MessageInitShape<typeof LiveViewRequestSchema> & { camera: string };

/**
 * A frame, or what has become of the live view while there is none.
 *
 * @example
 * const data = (item: LiveItem) => (item.case === "frame" ? item.value.data : undefined);
 */
export type LiveItem = Exclude<LiveViewResponse["payload"], { case: undefined }>;

/**
 * Shows what the camera sees, for as long as the loop runs: through stills, faults of the camera
 * and restarts of the service. While the service itself is away, the state is RECOVERING.
 *
 * The newest frame wins: a loop that is too slow misses frames (`framesDropped` says how many)
 * instead of falling behind. If it is always slow, name a `maxFps`: then they are not even sent.
 *
 * Leaving the loop ends the call, and so does the signal, from outside; neither is an error.
 *
 * @example
 * for await (const { case: kind, value } of liveView(client, { camera: "top", maxFps: 10 })) {
 *   if (kind === "frame") show(value.data, value.mimeType);
 *   else console.log(LiveStatus_State[value.state], value.reason);
 * }
 */
export function liveView(
  client: Pick<CameraClient, "liveView">,
  request: LiveViewInit,
  { signal }: StreamOptions = {},
): AsyncGenerator<LiveItem, void> {
  return stoppable((own) => newest(items(client, request, own), own), signal);
}

async function* items(
  client: Pick<CameraClient, "liveView">,
  request: LiveViewInit,
  signal: AbortSignal,
): AsyncGenerator<LiveItem, void> {
  let lastFrameTime: LiveFrame["acquisitionTime"];
  let [dropped, droppedBefore] = [0n, 0n]; // on this connection, and on those before it
  for await (const item of resumed(() => client.liveView(request, { signal }), signal)) {
    if (item instanceof ConnectError) {
      [dropped, droppedBefore] = [0n, droppedBefore + dropped];
      const state = LiveStatus_State.RECOVERING;
      const [reason, error] = [item.rawMessage, statusOf(item)];
      const value = create(LiveStatusSchema, { state, reason, error, lastFrameTime });
      yield { case: "status", value };
    } else if (item.payload.case === "frame") {
      const frame = item.payload.value;
      lastFrameTime = frame.acquisitionTime;
      dropped = frame.framesDropped;
      frame.framesDropped += droppedBefore;
      yield item.payload;
    } else if (item.payload.case === "status") yield item.payload;
  }
}
