/** The cameras and their controls. */

import type { CameraClient } from "@camsvc/client";
import type { FastifyInstance } from "fastify";
import { cameraView, controlView, settingOf } from "./views.js";

export interface OfCamera {
  Params: { camera: string };
}

interface SetControls extends OfCamera {
  Body: Record<string, unknown>;
}

const VALUES = { type: "object", minProperties: 1 };

export function cameraRoutes(app: FastifyInstance, client: CameraClient): void {
  app.get("/api/cameras", async () => {
    const { cameras } = await client.listCameras({});
    return cameras.map(cameraView);
  });

  app.get<OfCamera>("/api/cameras/:camera/controls", async ({ params: { camera } }) => {
    const { controls } = await client.listControls({ camera });
    return controls.map(controlView);
  });

  const schema = { body: VALUES };
  app.patch<SetControls>("/api/cameras/:camera/controls", { schema }, async (request) => {
    const settings = Object.entries(request.body).map(([name, value]) => settingOf(name, value));
    const { camera } = request.params;
    const { controls } = await client.setControls({ camera, controls: settings });
    return controls.map(controlView);
  });

  app.post<OfCamera>("/api/cameras/:camera/reset", async ({ params: { camera } }) => {
    const response = await client.resetCamera({ camera });
    return response.camera && cameraView(response.camera);
  });
}
