/** One loop of live view, whatever happens. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type CameraClient,
  type LiveItem,
  LiveStatus_State,
  liveView,
  reasonOf,
} from "../src/index.js";
import { Machine } from "./support/machine.js";
import { Relay } from "./support/relay.js";
import { camera, large, Service } from "./support/service.js";
import { Recording, sleep, until } from "./support/waiting.js";

const isFrame = (item: LiveItem) => item.case === "frame";
const says = (state: LiveStatus_State) => (item: LiveItem) =>
  item.case === "status" && item.value.state === state;
const isRecovering = says(LiveStatus_State.RECOVERING);
const isLost = (item: LiveItem) => item.case === "unreachable";

/** A loop that is ended with the test. */
function watched(t: { after(end: () => void): void }, client: CameraClient, fields = {}) {
  const controller = new AbortController();
  t.after(() => controller.abort());
  const { signal } = controller;
  const live = new Recording(liveView(client, { camera: "sim0", ...fields }, { signal }));
  return { live, controller };
}

async function viewers(client: CameraClient): Promise<number | undefined> {
  const { camera } = await client.getCamera({ camera: "sim0" });
  return camera?.statistics?.liveViewers;
}

test("it lives through three stills in a row and a hang of the driver, on one connection", async (t) => {
  const hang = { on: "read", kind: "hang", at: 60 };
  const service = await Service.start(t, camera("sim0", { capture_duration_s: 0.4 }, hang));
  const relay = await Relay.start(t, service.port);
  const client = service.client(t, {}, relay.port);
  const { live } = watched(t, client);
  await live.first(isFrame);
  for (let still = 0; still < 3; still++) {
    const begun = performance.now();
    await client.capture({ camera: "sim0" });
    await live.first(says(LiveStatus_State.PAUSED), begun);
    await live.first(isFrame, performance.now());
  }
  const stalled = await live.first(isRecovering);
  await live.first(isFrame, stalled);
  const frames = live.items.flatMap(({ item }) => (item.case === "frame" ? [item.value] : []));
  const numbers = frames.map(({ sequence }) => sequence);
  assert.deepEqual(
    numbers,
    [...new Set(numbers)].sort((a, b) => Number(a - b)),
  );
  assert.equal(relay.connections, 1);
});

test("the service is killed and back after 3 s: the loop goes on within a second", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const { live } = watched(t, service.client(t));
  await live.first(isFrame);
  const machine = new Machine(t);
  const killed = performance.now();
  await service.kill();
  const told = await live.first(isLost, killed);
  assert.ok(told - killed < machine.within(500), `told after ${told - killed} ms`);
  await sleep(3000);
  const status = live.items.at(-1)?.item;
  assert.ok(status?.case === "unreachable");
  assert.match(status.value.reason, /^the camera service at 127\.0\.0\.1:\d+ cannot be reached/);
  assert.ok(status.value.lastFrameTime);
  assert.equal(status.value.error.code, 14);
  await service.start();
  const back = performance.now();
  const reached = (await live.first((item) => !isLost(item), told)) - back;
  const frame = (await live.first(isFrame, back)) - back;
  // The frame had to wait for the camera to be opened again: that is the service's and the machine's.
  t.diagnostic(
    `after the service was back: reached ${reached.toFixed()} ms, frame ${frame.toFixed()} ms`,
  );
  assert.ok(reached < machine.within(1000), `${reached} ms`);
});

test("a service that stops in order is left and found again too", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const { live } = watched(t, service.client(t));
  await live.first(isFrame);
  await service.kill("SIGTERM");
  await live.first(isLost);
  await service.start();
  await live.first(isFrame, performance.now());
});

test("a break cancels the call", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const client = service.client(t);
  for await (const item of liveView(client, { camera: "sim0" })) {
    if (isFrame(item)) break;
  }
  await until(async () => (await viewers(client)) === 0, "no viewer", 10_000);
});

test("the signal ends the loop, quietly, whatever it is doing", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const client = service.client(t);
  const { live, controller } = watched(t, client);
  await live.first(isFrame);
  controller.abort(new Error("enough"));
  assert.equal(await live.ended, "ended");
  const { length } = live.items;
  await until(async () => (await viewers(client)) === 0, "no viewer", 10_000);
  assert.equal(live.items.length, length);
  assert.ok(!live.items.some(({ item }) => isRecovering(item)));

  const aborted = new Recording(
    liveView(client, { camera: "sim0" }, { signal: AbortSignal.abort() }),
  );
  assert.equal(await aborted.ended, "ended");
  assert.equal(aborted.items.length, 0);

  await service.kill();
  const lost = watched(t, client);
  await lost.live.first(isLost);
  const machine = new Machine(t);
  const begun = performance.now();
  lost.controller.abort();
  assert.equal(await lost.live.ended, "ended");
  assert.ok(performance.now() - begun < machine.within(50));
});

test("return() by hand ends it while it waits", async (t) => {
  const service = await Service.start(t, camera("sim0", { open_duration_s: 5 }));
  const client = service.client(t);
  const stream = liveView(client, { camera: "sim0" });
  await stream.next(); // STARTING
  const waiting = stream.next();
  const machine = new Machine(t);
  const begun = performance.now();
  await stream.return();
  assert.ok(performance.now() - begun < machine.within(100));
  assert.equal((await waiting).done, true);
  await until(async () => (await viewers(client)) === 0, "no viewer", 10_000);
});

test("what does not pass by itself is thrown", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const { live } = watched(t, service.client(t), { camera: "sim9" });
  assert.equal(reasonOf(await live.ended), "CAMERA_NOT_FOUND");
});

test("too many viewers: it says so and gets in when there is room", async (t) => {
  const service = await Service.start(t, camera("sim0", { max_viewers: 1 }));
  const client = service.client(t);
  const first = watched(t, client);
  await first.live.first(isFrame);
  const second = watched(t, client);
  await second.live.first(isRecovering);
  first.controller.abort();
  await second.live.first(isFrame);
});

for (const [bytes, what] of [
  [200_000, "large"],
  [5_000, "small"],
] as const) {
  test(`a slow consumer of ${what} frames is not behind by more than one`, async (t) => {
    const service = await Service.start(t, large("sim0", { frame_bytes: bytes, fps: 30 }));
    const client = service.client(t);
    const ages: number[] = [];
    let [dropped, sequence, frames] = [0n, 0n, 0];
    const machine = new Machine(t);
    const signal = AbortSignal.timeout(90_000);
    for await (const item of liveView(client, { camera: "sim0" }, { signal })) {
      if (item.case !== "frame") continue;
      const { seconds, nanos } = item.value.acquisitionTime ?? { seconds: 0n, nanos: 0 };
      ages.push(Date.now() - (Number(seconds) * 1000 + nanos / 1e6));
      assert.ok(item.value.sequence > sequence);
      ({ sequence, framesDropped: dropped } = item.value);
      if (++frames === 8) break;
      await sleep(500);
    }
    const worst = Math.max(...ages.slice(1));
    t.diagnostic(`the oldest of the frames that came was ${worst.toFixed(0)} ms old`);
    assert.equal(frames, 8);
    assert.ok(worst < machine.within(500), `${ages}`); // one frame behind would be 500 ms
    assert.ok(dropped >= 7n * 12n && dropped <= sequence, `${dropped} of ${sequence}`);
  });
}
