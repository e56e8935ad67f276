import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { checkFields } from "./checks.js";
import type { CameraClient } from "./client.js";
import { reasonOf } from "./details.js";
import { EventGapSchema } from "./gen/camapi/v1/camera_pb.js";
import {
  CaptureEventsRequestSchema,
  type CaptureEventsResponse,
} from "./gen/camapi/v1/camera_service_pb.js";
import { checkStreamOptions, resumed, type StreamOptions, stoppable } from "./resume.js";

/**
 * An event, or the news that some are gone for good.
 *
 * @example
 * if (item.case === "gap") console.log("gone: before", item.value.firstAvailableSequence);
 */
export type EventItem = Extract<CaptureEventsResponse["payload"], { case: "event" | "gap" }>;

/**
 * What {@link captureEvents} takes in addition to the request.
 *
 * @example
 * const options: EventOptions = { onConnection: (error) => console.error(error?.rawMessage) };
 */
export interface EventOptions extends StreamOptions {
  /** Called with the error when the connection is lost, and with undefined when it is back. */
  onConnection?: ((error: ConnectError | undefined) => void) | undefined;
  /** Called each time the service has begun to send. From then on nothing is missed. */
  onReady?: (() => void) | undefined;
}

/**
 * Yields every step of every capture, each once and in order, for as long as the loop runs: also
 * those that happened while the connection, or the service, was away. To go on in another process,
 * keep the `sequence` of the last event and give it as `afterSequence`.
 *
 * Leaving the loop ends the call, and so does the signal, from outside; neither is an error.
 *
 * @example
 * for await (const { case: kind, value } of captureEvents(client, { camera: "sim0" }))
 *   if (kind === "event") console.log(value.sequence, CaptureEvent_Type[value.type]);
 */
export function captureEvents(
  client: Pick<CameraClient, "captureEvents">,
  request: MessageInitShape<typeof CaptureEventsRequestSchema> = {},
  options: EventOptions = {},
): AsyncGenerator<EventItem, void> {
  checkFields(CaptureEventsRequestSchema, request);
  checkStreamOptions(options, "onConnection", "onReady");
  const { onConnection, onReady } = options;
  return stoppable(async function* (signal) {
    let after = request.afterSequence; // all up to there has been handed out
    let placed = false; // by the service
    let lost = false;
    const connection = (error?: ConnectError) => {
      if (lost !== (error !== undefined)) onConnection?.(error);
      lost = error !== undefined;
    };
    const open = (began: () => void) => {
      const camera = request.camera ?? "";
      const wanted = after === undefined ? { camera } : { camera, afterSequence: after };
      const onHeader = () => {
        began();
        connection();
        onReady?.();
      };
      return client.captureEvents(wanted, { signal, onHeader });
    };
    for (;;) {
      try {
        for await (const item of resumed(open, signal, "CaptureEvents", options)) {
          if (item instanceof ConnectError) {
            connection(item);
            continue;
          }
          const { payload } = item;
          placed = true;
          if (payload.case === "heartbeat") after = payload.value.lastSequence;
          if (payload.case === "gap") after = payload.value.firstAvailableSequence - 1n;
          if (payload.case === "gap") yield payload;
          if (payload.case === "event" && payload.value.sequence > (after ?? 0n)) {
            after = payload.value.sequence;
            yield payload;
          }
        }
        return;
      } catch (error) {
        // The service has another history now, and our place is beyond its end.
        if (!placed || after === 0n || reasonOf(error) !== "INVALID_REQUEST") throw error;
        after = 0n;
        yield { case: "gap", value: create(EventGapSchema, { firstAvailableSequence: 1n }) };
      }
    }
  }, options.signal);
}
