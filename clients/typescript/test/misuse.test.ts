/** What is not allowed is told, not passed over; and what users want to know besides. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import {
  CameraSchema,
  Code,
  ConnectError,
  captureEvents,
  createCameraClient,
  downloadImage,
  isBusy,
  isFaulted,
  isUnreachable,
  ListCapturesRequestSchema,
  ListCapturesResponseSchema,
  LiveViewResponseSchema,
  liveView,
  type Retried,
  toJson,
} from "../src/index.js";
import { failure, fake } from "./support/fake.js";
import { camera, Service } from "./support/service.js";

const GONE = "127.0.0.1:1"; // nothing listens there
const CAMERA = { camera: "sim0" };

/** As JavaScript sees things: without types. */
// biome-ignore lint/suspicious/noExplicitAny: that is the point
const untyped = (value: unknown) => value as any;

function refused(text: string | RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof ConnectError, String(error));
    assert.equal(error.code, Code.InvalidArgument);
    assert.match(error.rawMessage, new RegExp(text));
    return true;
  };
}

test("fields and options that do not exist are refused in JavaScript, too", async (t) => {
  let calls = 0;
  const answer = () => {
    calls++;
    return {};
  };
  const port = await fake(t, { capture: answer, listCaptures: answer, setControls: answer });
  const client = untyped(createCameraClient(`127.0.0.1:${port}`));
  t.after(() => client.close());
  const wrong: [() => Promise<unknown>, string][] = [
    [() => client.capture({ cameraId: "sim0" }), '^CaptureRequest has no "cameraId"; .*camera, '],
    [
      () => client.capture({ image: { quality: 9 } }),
      '^ImageOptions has no "quality"; .*qualityPerc',
    ],
    [() => client.captureGroup({ requests: [{}, { name: 1 }] }), '^CaptureRequest has no "name"'],
    [
      () => client.setControls({ controls: [{ name: "a", value: { intValue: 2n } }] }),
      '^ControlValue has no "intValue"; allowed: kind$',
    ],
    [
      () => client.setControls({ controls: [{ value: { kind: { case: "int", value: 2n } } }] }),
      '^ControlValue.kind has no "int"; allowed: .*intValue',
    ],
    [() => client.capture(CAMERA, { timeout: 30 }), '^the options of a call have no "timeout"; '],
    [() => downloadImage(client, untyped({ captureId: "a", offset: 7 })), 'have no "offset"'],
    [() => downloadImage(client, { captureId: "a" }, untyped({ retry: 1 })), 'have no "retry"'],
    [async () => liveView(client, CAMERA, untyped({ onReady: 1 })), 'have no "onReady"'],
    [() => liveView(client, untyped({ camera: "sim0", fps: 3 })).next(), 'no "fps"; .*maxFps'],
    [
      () => (async () => captureEvents(client, untyped({ after: 3n })))(),
      'no "after"; .*afterSequence',
    ],
  ];
  for (const [call, text] of wrong) await assert.rejects(call(), refused(text), text);
  for (const options of [{ silenceMS: 3 }, { tls: { key_file: "" } }]) {
    assert.throws(() => createCameraClient(GONE, untyped(options)), refused("have no "));
  }
  assert.equal(calls, 0);

  await client.capture({ camera: "sim0", labels: { any: "name" }, requestId: undefined });
  await client.listCaptures(create(ListCapturesRequestSchema, { labels: { camera: "x" } }));
  await client.setControls({ controls: [{ value: { kind: { case: "intValue", value: 2n } } }] });
  await client.setControls({ controls: [{ value: { kind: { case: undefined } } }] });
  assert.equal(calls, 4);
});

test("a time-out that is none is refused, and one without an end is none", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const client = service.client(t);
  for (const timeoutMs of [Number.NaN, -1, -Infinity]) {
    const text = `^timeoutMs is ${timeoutMs}; allowed: 0 \\(none\\) and more$`;
    await assert.rejects(client.capture(CAMERA, { timeoutMs }), refused(text));
    assert.throws(() => client.liveView(CAMERA, { timeoutMs }), refused(text));
    const unbounded = () => liveView(client, CAMERA, { reconnectMs: timeoutMs });
    assert.throws(unbounded, /reconnectMs is .*; allowed: 0 to Infinity/);
  }
  for (const timeoutMs of [Infinity, 1e300, 2 ** 32, 2 ** 31 + 1, 0]) {
    assert.ok((await client.capture(CAMERA, { timeoutMs })).capture);
    let frames = 0;
    for await (const { payload } of client.liveView(CAMERA, { timeoutMs })) {
      if (payload.case === "frame" && ++frames === 3) break;
    }
    assert.equal(frames, 3);
  }
});

test("who wants no second attempt gets none, also with a time-out", async (t) => {
  let calls = 0;
  const port = await fake(t, {
    capture: () => {
      calls++;
      throw failure(Code.ResourceExhausted, "CAMERA_BUSY", 50);
    },
  });
  const client = createCameraClient(`127.0.0.1:${port}`, { giveUpAfterMs: 0, reconnectMs: 0 });
  t.after(() => client.close());
  for (const timeoutMs of [10_000, Infinity, 0]) {
    await assert.rejects(client.capture(CAMERA, { timeoutMs }), isBusy);
  }
  assert.equal(calls, 3);
});

test("who wants is told what is made again, why, and when", async (t) => {
  let busy = 2;
  const port = await fake(t, {
    capture: () => {
      if (busy-- > 0) throw failure(Code.ResourceExhausted, "CAMERA_BUSY", 50);
      return {};
    },
  });
  const told: Retried[] = [];
  const onRetry = (retried: Retried) => void told.push(retried);
  const client = createCameraClient(`127.0.0.1:${port}`, { onRetry });
  t.after(() => client.close());
  await client.capture(CAMERA);
  assert.deepEqual(
    told.map(({ call, error, waitMs }) => [call, isBusy(error), waitMs]),
    [
      ["Capture", true, 50],
      ["Capture", true, 50],
    ],
  );
  const [first, second] = told;
  assert.ok(first && second && second.elapsedMs - first.elapsedMs >= 49);

  told.length = 0;
  const lost = createCameraClient(GONE, { onRetry, reconnectMs: 300 });
  t.after(() => lost.close());
  const options = { onRetry, reconnectMs: 300 };
  await assert.rejects(lost.listCameras({}), isUnreachable);
  await assert.rejects(downloadImage(lost, { captureId: "a" }, options), isUnreachable);
  await assert.rejects(captureEvents(lost, {}, options).next(), isUnreachable);
  for await (const _ of liveView(lost, CAMERA, options)) break;
  const calls = ["ListCameras", "DownloadImage", "CaptureEvents", "LiveView"];
  assert.deepEqual([...new Set(told.map(({ call }) => call))], calls);
  assert.ok(told.every(({ error, waitMs }) => isUnreachable(error) && waitMs > 0));
});

test("a proxy for the web is not asked", async (t) => {
  const port = await fake(t, { listCameras: () => ({}) });
  const names = ["http_proxy", "HTTP_PROXY", "https_proxy", "grpc_proxy", "NODE_USE_ENV_PROXY"];
  const before = names.map((name) => [name, process.env[name]] as const);
  t.after(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
  for (const name of names) process.env[name] = name.startsWith("NODE") ? "1" : `http://${GONE}`;
  const client = createCameraClient(`127.0.0.1:${port}`);
  t.after(() => client.close());
  await client.listCameras({});
});

test("an error's text is of bounded length, and keeps its details", async (t) => {
  const port = await fake(t, {
    capture: () => {
      const error = failure(Code.ResourceExhausted, "CAMERA_BUSY", 60_000);
      throw Object.assign(error, { rawMessage: "too much ".repeat(500) });
    },
    async *liveView() {
      yield {};
      throw new ConnectError("too much ".repeat(500), Code.FailedPrecondition);
    },
  });
  const client = createCameraClient(`127.0.0.1:${port}`);
  t.after(() => client.close());
  const short = (error: unknown) => {
    assert.ok(error instanceof ConnectError);
    assert.match(error.rawMessage, /^too much .*…$/);
    assert.equal(error.rawMessage.length, 1000);
    return true;
  };
  await assert.rejects(client.capture(CAMERA, { timeoutMs: 9000 }), (error) => {
    assert.ok(isBusy(error) && error.waitMs === 60_000);
    return short(error);
  });
  await assert.rejects(liveView(client, CAMERA).next(), short);
});

test("every message has a JSON form", async (t) => {
  const fault = { on: "open", kind: "permanent", times: 0 };
  const service = await Service.start(t, camera("sim0"), camera("ill", {}, fault));
  const client = service.client(t);
  await client.capture(CAMERA);
  const response = await client.listCaptures({});
  const [image] = untyped(toJson(ListCapturesResponseSchema, response)).captures;
  assert.equal(image.captureId, response.captures[0]?.captureId);
  assert.match(image.acquisitionTime, /^\d{4}-\d\d-\d\dT.*Z$/);
  assert.equal(typeof image.image.sizeBytes, "string");
  for await (const item of client.liveView(CAMERA)) {
    if (item.payload.case !== "frame") continue;
    assert.ok(JSON.stringify(toJson(LiveViewResponseSchema, item)).length > 1000);
    break;
  }
  await assert.rejects(client.capture({ camera: "ill" }), isFaulted);
  const { cameras } = await client.listCameras({});
  const ill = untyped(cameras.map((each) => toJson(CameraSchema, each))[1]);
  assert.equal(ill.fault.details[0].reason, "CAMERA_FAULTED");
});
