/** Misuse does not compile. Never run: `tsc` fails where an error that is expected does not come. */

import {
  type CameraClient,
  type CaptureEvent,
  type CaptureResponse,
  captureEvents,
  createCameraClient,
  downloadChunks,
  downloadImage,
  isBusy,
  isFaulted,
  type LiveFrame,
  type LiveStatus,
  liveView,
  reasonOf,
  type Unreachable,
} from "../src/index.js";

function equal<T>(_: T): void {}

export async function clients(): Promise<void> {
  const client: CameraClient = createCameraClient("127.0.0.1:50051", {
    tls: { ca: "PEM" },
    token: async () => "secret",
    readMaxBytes: 2 ** 20,
    giveUpAfterMs: 0,
  });
  createCameraClient("127.0.0.1:50051", { tls: true, token: "secret" });
  // @ts-expect-error an address is needed
  createCameraClient();
  // @ts-expect-error host and port are one text
  createCameraClient("127.0.0.1", 50051);
  // @ts-expect-error no such option
  createCameraClient("127.0.0.1:50051", { timeout: 3 });
  // @ts-expect-error the token is a text, or gives one
  createCameraClient("127.0.0.1:50051", { token: 7 });

  const response: CaptureResponse = await client.capture(
    { camera: "sim0" },
    { timeoutMs: 1000, signal: AbortSignal.timeout(1) },
  );
  equal<Uint8Array>(response.imageData);
  // @ts-expect-error the capture may be missing from a message
  response.capture.captureId;
  // @ts-expect-error a bigint, not a number
  equal<number | undefined>(response.capture?.image?.sizeBytes);
  // @ts-expect-error the field is `camera`
  await client.capture({ cameraId: "sim0" });
  // @ts-expect-error the name of a format is an enum's
  await client.capture({ camera: "sim0", image: { format: "JPEG" } });
  // @ts-expect-error milliseconds are a number
  await client.capture({ camera: "sim0" }, { timeoutMs: "30s" });
  // @ts-expect-error the option is `timeoutMs`
  await client.capture({ camera: "sim0" }, { timeout: 30 });
  // @ts-expect-error exactly one kind of value
  await client.setControls({ camera: "a", controls: [{ name: "gain", value: { kind: 2 } }] });
  // @ts-expect-error no such call
  await client.snap({ camera: "sim0" });
}

export async function streams(client: CameraClient, signal: AbortSignal): Promise<void> {
  for await (const item of liveView(client, { camera: "sim0", maxFps: 10 }, { signal })) {
    if (item.case === "frame") equal<LiveFrame>(item.value);
    else if (item.case === "status") equal<LiveStatus>(item.value);
    else equal<Unreachable>(item.value);
    // @ts-expect-error a status has no data
    item.value.data;
  }
  // @ts-expect-error a camera is needed
  liveView(client, {});
  // @ts-expect-error the signal is in an object
  liveView(client, { camera: "sim0" }, signal);
  // @ts-expect-error a controller is no signal
  liveView(client, { camera: "sim0" }, { signal: new AbortController() });
  // @ts-expect-error the client comes first
  liveView({ camera: "sim0" });
  // @ts-expect-error what is awaited is the loop
  (await liveView(client, { camera: "sim0" })).value;

  for await (const item of captureEvents(client, { afterSequence: 0n }, { signal })) {
    if (item.case === "event") equal<CaptureEvent>(item.value);
    // @ts-expect-error heartbeats are not handed out
    if (item.case === "heartbeat") return;
  }
  captureEvents(client);
  // @ts-expect-error a number of 64 bits is a bigint
  captureEvents(client, { afterSequence: 0 });

  const image = await downloadImage(client, { captureId: "x", part: 1 }, { signal });
  equal<Uint8Array>(image.data);
  equal<string>(image.mimeType);
  // @ts-expect-error a capture is needed
  await downloadImage(client, {});
  // @ts-expect-error the offset is the client's own affair
  await downloadImage(client, { captureId: "x", readOffset: 7n });
  for await (const chunk of downloadChunks(client, { captureId: "x" })) {
    equal<number>(chunk.offset);
    // @ts-expect-error the sizes of files are numbers, those in messages bigints
    equal<bigint>(chunk.sizeBytes);
  }
}

export function errors(error: unknown): void {
  if (isBusy(error)) {
    equal<string | undefined>(error.holder?.captureId);
    equal<Date | undefined>(error.holder?.expectedEndTime);
    equal<number | undefined>(error.waitMs);
    // @ts-expect-error the service may name no time
    equal<number>(error.waitMs);
    // @ts-expect-error there may be no holder
    error.holder.captureId;
  } else if (isFaulted(error)) {
    equal<string>(error.message);
    // @ts-expect-error only a busy camera has a holder
    error.holder;
  }
  // @ts-expect-error what was caught may be anything
  error.waitMs;
  // @ts-expect-error no such reason
  if (reasonOf(error) === "BUSY") return;
}
