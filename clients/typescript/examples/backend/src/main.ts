/** The backend's life: settings, start, signals, end. */

import { createCameraClient } from "@camsvc/client";
import { createApp } from "./app.js";
import { readSettings, type Settings, SettingsError, USAGE } from "./settings.js";

// A page explains a wait better than a call that does not return: only short gaps are bridged here.
const GAP_MS = 1000;

async function run({ service, host, port, origins }: Settings): Promise<void> {
  const client = createCameraClient(service, { giveUpAfterMs: GAP_MS, reconnectMs: GAP_MS });
  const app = await createApp(client, origins);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      void app.close().then(() => client.close());
    });
  }
  const url = await app.listen({ host, port });
  console.log(`Cameras of ${service} on ${url}`);
  if (!/^(127\.|::1$|localhost$)/.test(host)) {
    console.warn(`Everybody who can reach ${host} can see and use the cameras.`);
  }
}

function failed(error: unknown): void {
  const { code, message } = error as NodeJS.ErrnoException;
  const taken = code === "EADDRINUSE" ? "; another program listens there, name another --port" : "";
  console.error(`camsvc backend: ${message}${taken}`);
  process.exitCode = error instanceof SettingsError ? 2 : 1;
}

try {
  const settings = readSettings(process.argv.slice(2), process.env);
  if (settings) await run(settings);
  else console.log(USAGE);
} catch (error) {
  failed(error);
}
