/** Calls that are repeated, and those that are not. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import {
  CaptureRequestSchema,
  type CaptureResponse,
  Code,
  type ConnectError,
  isBusy,
  isFaulted,
  isUnreachable,
  reasonOf,
} from "../src/index.js";
import { Machine } from "./support/machine.js";
import { Relay } from "./support/relay.js";
import { camera, Service } from "./support/service.js";
import { sleep, until } from "./support/waiting.js";

const SLOW = { capture_duration_s: 0.6 };

function shutterPresses({ capture }: CaptureResponse): bigint {
  const control = capture?.controls.find(({ name }) => name === "shutter_actuations");
  const value = control?.value?.kind;
  assert.equal(value?.case, "intValue");
  return value.value;
}

test("two captures at once both succeed: the busy one is repeated when the camera is free", async (t) => {
  const service = await Service.start(t, camera("sim0", SLOW));
  const client = service.client(t);
  await client.listControls({ camera: "sim0" }); // opens it
  const [a, b] = await Promise.all([1, 2].map(() => client.capture({ camera: "sim0" })));
  assert.ok(a && b);
  assert.notEqual(a.capture?.captureId, b.capture?.captureId);
  assert.deepEqual([shutterPresses(a), shutterPresses(b)].sort(), [1n, 2n]);
});

test("a wait that does not fit the deadline is not begun: busy at once, with holder and wait", async (t) => {
  const service = await Service.start(t, camera("sim0", { capture_duration_s: 2 }));
  const client = service.client(t);
  await client.listControls({ camera: "sim0" });
  const first = client.capture({ camera: "sim0", requestId: crypto.randomUUID() });
  await until(
    async () => (await client.getCamera({ camera: "sim0" })).camera?.activeCapture !== undefined,
    "a capture under way",
  );
  const machine = new Machine(t);
  const begun = performance.now();
  await assert.rejects(client.capture({ camera: "sim0" }, { timeoutMs: 1000 }), (error) => {
    assert.ok(performance.now() - begun < machine.within(200), "at once");
    assert.ok(isBusy(error));
    assert.equal(error.reason, "CAMERA_BUSY");
    assert.equal(error.code, Code.ResourceExhausted);
    assert.equal(error.info["camera"], "sim0");
    assert.ok(error.waitMs && error.waitMs > 1000 && error.waitMs < 3000, `${error.waitMs} ms`);
    assert.ok(error.holder?.captureId && error.holder.requestId);
    const { startTime, expectedEndTime } = error.holder;
    assert.ok(startTime && Math.abs(Date.now() - startTime.getTime()) < 2000);
    assert.ok(expectedEndTime && expectedEndTime > startTime);
    return true;
  });
  await first;
});

test("the deadline is kept, also by a repeated call", async (t) => {
  const fault = { on: "capture", kind: "hang", times: 0 };
  const service = await Service.start(t, camera("sim0", { attempt_timeout_s: 20 }, fault));
  const client = service.client(t);
  await client.listControls({ camera: "sim0" });
  const stuck = client.capture({ camera: "sim0" }, { timeoutMs: 1500 });
  const machine = new Machine(t);
  const begun = performance.now();
  await assert.rejects(stuck, (error) => {
    assert.equal((error as ConnectError).code, Code.DeadlineExceeded);
    const took = performance.now() - begun;
    assert.ok(took > 1400 && took < machine.within(1700), `${took} ms`);
    return true;
  });
  await service.kill();
  const begunAnew = performance.now();
  await assert.rejects(client.capture({ camera: "sim0" }, { timeoutMs: 1000 }), isUnreachable);
  const took = performance.now() - begunAnew;
  assert.ok(took > 400 && took <= machine.within(1010), `${took} ms`);
});

test("an answer that is lost on its way is asked for again: one press of the shutter", async (t) => {
  const service = await Service.start(t, camera("sim0", { width_px: 1280, height_px: 720 }));
  const relay = await Relay.start(t, service.port);
  const client = service.client(t, {}, relay.port);
  await client.listControls({ camera: "sim0" });
  relay.cutAt = relay.bytes + 20_000; // in the middle of the picture
  const response = await client.capture({ camera: "sim0" }, { timeoutMs: 10_000 });
  assert.equal(relay.connections, 2);
  assert.equal(response.replayed, true);
  assert.equal(shutterPresses(response), 1n);
  assert.match(response.capture?.requestId ?? "", /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
  assert.equal(shutterPresses(await client.capture({ camera: "sim0" })), 2n);
});

test("a request used twice is two captures, and keeps what its owner wrote into it", async (t) => {
  const service = await Service.start(t, camera("sim0"), camera("sim1"));
  const client = service.client(t);
  const request = create(CaptureRequestSchema, { camera: "sim0" });
  const [a, b] = [await client.capture(request), await client.capture(request)];
  assert.notEqual(a.capture?.captureId, b.capture?.captureId);
  assert.equal(request.requestId, "");
  assert.equal(request.maxInlineBytes, undefined);
  const requestId = crypto.randomUUID();
  const named = { camera: "sim0", requestId };
  const [c, d] = [await client.capture(named), await client.capture(named)];
  assert.equal(c.capture?.requestId, requestId);
  assert.equal(d.capture?.captureId, c.capture.captureId);
  const { results } = await client.captureGroup({
    requests: [{ camera: "sim0" }, { camera: "sim1", requestId }],
  });
  const ids = results.map(({ outcome }) => {
    assert.equal(outcome.case, "capture");
    return outcome.value.requestId;
  });
  assert.equal(ids[1], requestId);
  assert.ok(ids[0] && ids[0] !== requestId);
});

test("a capture waits for a service that is just being started", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const client = service.client(t);
  await service.kill();
  const capture = client.capture({ camera: "sim0" }, { timeoutMs: 20_000 });
  await sleep(1000);
  await service.start();
  assert.ok((await capture).imageData.length > 0);
});

test("without a service the error is clear, and comes when the patience is over", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  await service.kill();
  const client = service.client(t, { reconnectMs: 700 });
  const machine = new Machine(t);
  const begun = performance.now();
  await assert.rejects(client.listCameras({}), (error) => {
    const took = performance.now() - begun;
    assert.ok(took < machine.within(1200), `${took} ms`);
    assert.ok(isUnreachable(error));
    assert.equal(reasonOf(error), undefined);
    assert.match(
      error.message,
      /^\[unavailable\] the camera service at 127\.0\.0\.1:\d+ cannot be reached: .*REFUSED/,
    );
    return true;
  });
});

test("what does not pass by itself is not repeated", async (t) => {
  const fault = { on: "capture", kind: "permanent", times: 0 };
  const service = await Service.start(t, camera("sim0", {}, fault));
  const client = service.client(t);
  const machine = new Machine(t);
  await assert.rejects(client.capture({ camera: "sim0" }), isFaulted);
  const calls = [
    [() => client.capture({ camera: "sim9" }), "CAMERA_NOT_FOUND"],
    [() => client.capture({ camera: "?" }), "INVALID_REQUEST"],
    [() => client.getCapture({ captureId: "none" }), "CAPTURE_NOT_FOUND"],
  ] as const;
  for (const [call, reason] of calls) {
    const begun = performance.now();
    await assert.rejects(call(), (error) => reasonOf(error) === reason);
    assert.ok(performance.now() - begun < machine.within(300), reason);
  }
  await service.kill();
  const begun = performance.now();
  await assert.rejects(client.resetCamera({ camera: "sim0" }), isUnreachable);
  await assert.rejects(client.deleteCapture({ captureId: "x" }), isUnreachable);
  assert.ok(performance.now() - begun < machine.within(300));
});

test("the caller ends a call in the middle of its wait", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  await service.kill();
  const client = service.client(t);
  const controller = new AbortController();
  const machine = new Machine(t);
  setTimeout(() => controller.abort(), 300);
  const begun = performance.now();
  await assert.rejects(client.listCameras({}, { signal: controller.signal }), (error) => {
    assert.equal((error as ConnectError).code, Code.Canceled);
    assert.ok(!isUnreachable(error));
    return true;
  });
  assert.ok(performance.now() - begun < machine.within(400));
});

test("a closed client says so", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const client = service.client(t);
  await client.listCameras({});
  client.close();
  await assert.rejects(client.listCameras({}), /the client is closed/);
});
