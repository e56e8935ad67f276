/** Stills: taking them, and those that were taken. */

import { Readable } from "node:stream";
import {
  type CameraClient,
  Capture_State,
  CaptureRequest_BusyPolicy,
  CaptureRequest_Delivery,
  DownloadImageRequest_Variant,
  type DownloadInit,
  downloadChunks,
} from "@camsvc/client";
import type { FastifyInstance, FastifyReply } from "fastify";
import type { OfCamera } from "./cameras.js";
import { BackendError } from "./problems.js";
import { captureView } from "./views.js";

interface Take extends OfCamera {
  Body: { requestId?: string } | null;
}

interface List extends OfCamera {
  Querystring: { limit?: string };
}

interface OfCapture {
  Params: { capture: string };
  Querystring: { download?: string };
}

const REQUEST = { type: "object", nullable: true, properties: { requestId: { type: "string" } } };
const MOST_LISTED = 100;
const STALLED_MS = 15_000; // a browser that takes nothing of a picture for so long has left
const SHOWN_BY_BROWSERS = ["image/jpeg", "image/png"];
// A capture's picture never changes.
const KEPT = "private, max-age=31536000, immutable";

/** `closing` ends what is under way. */
export function captureRoutes(app: FastifyInstance, client: CameraClient, closing: AbortSignal) {
  const schema = { body: REQUEST };
  app.post<Take>("/api/cameras/:camera/captures", { schema }, async (request, reply) => {
    const { camera } = request.params;
    const { capture, replayed } = await client.capture(
      {
        camera,
        requestId: request.body?.requestId ?? "",
        // Who comes second is served second: the service keeps the line, for all its clients.
        busyPolicy: CaptureRequest_BusyPolicy.WAIT,
        delivery: CaptureRequest_Delivery.REFERENCE,
      },
      { signal: untilGone(reply, closing) },
    );
    if (!capture) throw new BackendError(502, "INTERNAL", "the service named no capture");
    reply.header("location", `/api/captures/${capture.captureId}/image`);
    return reply.code(replayed ? 200 : 201).send(captureView(capture));
  });

  app.get<List>("/api/cameras/:camera/captures", async ({ params: { camera }, query }) => {
    const { limit = "10" } = query;
    if (!/^\d{1,3}$/.test(limit) || Number(limit) < 1 || Number(limit) > MOST_LISTED) {
      const message = `limit "${limit}" is not a number from 1 to ${MOST_LISTED}`;
      throw new BackendError(400, "INVALID_REQUEST", message);
    }
    const states = [Capture_State.SUCCEEDED];
    const { captures } = await client.listCaptures({ camera, states, pageSize: Number(limit) });
    return captures.map(captureView);
  });

  app.get<OfCapture>("/api/captures/:capture/image", async (request, reply) => {
    const captureId = request.params.capture;
    const { capture } = await client.getCapture({ captureId });
    if (!capture) throw new BackendError(502, "INTERNAL", "the service described no capture");
    const { fileName } = captureView(capture);
    return send({ captureId }, reply, fileName, request.query.download !== undefined);
  });

  app.get<OfCapture>("/api/captures/:capture/thumbnail", (request, reply) => {
    const variant = DownloadImageRequest_Variant.THUMBNAIL;
    return send({ captureId: request.params.capture, variant }, reply);
  });

  /** Sends a picture at the reader's pace, to be shown or to be saved. */
  async function send(wanted: DownloadInit, reply: FastifyReply, name = "picture", save = false) {
    const signal = untilGone(reply, closing);
    reply.raw.setTimeout(STALLED_MS, () => reply.raw.destroy());
    const pieces = downloadChunks(client, wanted, { signal });
    const { value: first } = await pieces.next(); // whatever is wrong shows here
    if (!first) throw new BackendError(502, "INTERNAL", "the service sent no picture");
    const shown = !save && SHOWN_BY_BROWSERS.includes(first.mimeType);
    reply.headers({
      "cache-control": KEPT,
      "content-length": first.sizeBytes,
      "content-type": first.mimeType,
      "content-disposition": `${shown ? "inline" : "attachment"}; filename="${name}"`,
    });
    return reply.send(
      Readable.from(
        (async function* () {
          yield first.data;
          for await (const { data } of pieces) yield data;
        })(),
        { objectMode: false },
      ),
    );
  }
}

/** Aborts when the browser has left, and when the backend ends. */
function untilGone({ raw }: FastifyReply, closing: AbortSignal): AbortSignal {
  const gone = new AbortController();
  raw.once("close", () => gone.abort());
  return AbortSignal.any([gone.signal, closing]);
}
