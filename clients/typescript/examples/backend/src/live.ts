/** The socket of a page: what a camera sees, how it is, and what becomes of its stills. */

import {
  type CameraClient,
  type ConnectError,
  captureEvents,
  frameAgeMs,
  isUnreachable,
  liveView,
} from "@camsvc/client";
import type { FastifyInstance } from "fastify";
import type { OfCamera } from "./cameras.js";
import { ServiceClock } from "./clock.js";
import { Condition, Outage } from "./condition.js";
import { explained } from "./problems.js";
import { Viewer } from "./viewer.js";
import { stepView } from "./views.js";

interface Watch extends OfCamera {
  Querystring: { width?: string };
}

const MAX_FPS = 15; // smooth enough to aim by, and half of what 30 would cost
const WIDTHS = [320, 640, 960, 1280, 1920]; // few, as each is encoded once for all its viewers
// Then nothing comes, but the page learns why: no such camera, or no live view of it.
const HOPELESS = ["CAMERA_NOT_FOUND", "INVALID_REQUEST", "UNSUPPORTED"];
const TRY_AGAIN_LATER = 1013;

/** `closing` ends all sockets. */
export function liveRoute(app: FastifyInstance, client: CameraClient, closing: AbortSignal): void {
  const outage = new Outage((message) => app.log.warn(message));
  const clock = new ServiceClock();

  app.get<Watch>("/api/cameras/:camera/live", { websocket: true }, async (socket, request) => {
    const { camera } = request.params;
    const viewer = new Viewer(socket, closing);
    const signal = viewer.gone;
    const condition = new Condition(client, camera, outage, clock, signal, (state) =>
      viewer.send({ type: "state", state }),
    );
    const unlessHopeless = (error: unknown) => {
      const { reason, message } = explained(error).problem;
      if (!HOPELESS.includes(reason)) throw error;
      condition.ended(message);
    };
    try {
      await Promise.all([show().catch(unlessHopeless), narrate().catch(unlessHopeless)]);
    } catch (error) {
      request.log.error({ err: error }, "a page's socket failed");
      socket.close(TRY_AGAIN_LATER);
    }

    /** Sends frames at the page's pace: while it draws, newer ones take the place of older. */
    async function show(): Promise<void> {
      const maxWidthPx = widthFor(request.query.width);
      const wanted = { camera, maxFps: MAX_FPS, maxWidthPx };
      const view = liveView(client, wanted, { signal, reconnectMs: Infinity });
      for await (const { case: kind, value } of view) {
        if (kind === "status") condition.took(value);
        else if (kind === "unreachable") condition.lost(value);
        else {
          clock.heard(value);
          await viewer.show(value.data, frameAgeMs(value) ?? 0, Number(value.framesDropped));
        }
      }
    }

    async function narrate(): Promise<void> {
      const onReady = () => {
        outage.over();
        viewer.send({ type: "ready" });
        condition.look();
      };
      const onConnection = (error?: ConnectError) => isUnreachable(error) && outage.began();
      const options = { signal, reconnectMs: Infinity, onConnection, onReady };
      for await (const item of captureEvents(client, { camera }, options)) {
        const step = item.case === "event" && stepView(item.value);
        if (step) viewer.send({ type: "step", step });
        condition.look();
      }
    }
  });
}

function widthFor(asked: string | undefined): number {
  const width = Number(asked);
  return WIDTHS.find((known) => known >= width) ?? Math.max(...WIDTHS);
}
