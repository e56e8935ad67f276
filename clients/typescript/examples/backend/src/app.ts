/** The backend, put together. */

import type { CameraClient } from "@camsvc/client";
import websocket from "@fastify/websocket";
import Fastify, { type FastifyInstance } from "fastify";
import { cameraRoutes } from "./cameras.js";
import { captureRoutes } from "./captures.js";
import { guard } from "./guard.js";
import { liveRoute } from "./live.js";
import { pageRoutes } from "./pages.js";
import { explainErrors } from "./problems.js";

const BODY_BYTES = 16 * 1024;
// Nobody holds a socket by sending nothing, or little: a page needs some seven of them at once.
const SOCKETS = 256;
const HEADERS_MS = 5000;
const REQUEST_MS = 10_000;
const IDLE_MS = 5000;
const CHECK_MS = 1000;
const SOCKET_MESSAGE_BYTES = 64; // a page only says that it has drawn a frame

/** An app that does not listen yet. `close()` ends all that is under way. */
export async function createApp(client: CameraClient, origins: string[]): Promise<FastifyInstance> {
  const app = Fastify({
    bodyLimit: BODY_BYTES,
    forceCloseConnections: true,
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: IDLE_MS,
    http: { headersTimeout: HEADERS_MS, connectionsCheckingInterval: CHECK_MS },
    logger: { level: "warn" },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false } },
  });
  app.server.maxConnections = SOCKETS;
  const closing = new AbortController();
  app.addHook("preClose", async () => closing.abort());
  app.removeContentTypeParser("text/plain"); // JSON, or nothing
  guard(app, origins);
  explainErrors(app);
  await app.register(websocket, { options: { maxPayload: SOCKET_MESSAGE_BYTES } });
  await pageRoutes(app);
  cameraRoutes(app, client);
  captureRoutes(app, client, closing.signal);
  liveRoute(app, client, closing.signal);
  return app;
}
