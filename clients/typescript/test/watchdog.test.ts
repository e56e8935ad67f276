/** A service that does not answer is noticed; one that is quiet is left alone. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { captureEvents, isUnreachable, type LiveItem, liveView } from "../src/index.js";
import { Machine } from "./support/machine.js";
import { Relay } from "./support/relay.js";
import { camera, Service } from "./support/service.js";
import { Recording, sleep } from "./support/waiting.js";

const NOTICED_MS = 5000;
const isFrame = (item: LiveItem) => item.case === "frame";
const isLost = (item: LiveItem) => item.case === "unreachable";

test("a frozen service is noticed within 5 s by all calls, and they go on when it does", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const client = service.client(t);
  const controller = new AbortController();
  t.after(() => controller.abort());
  const { signal } = controller;
  const live = new Recording(liveView(client, { camera: "sim0" }, { signal }));
  const lost: number[] = [];
  const onConnection = (error: unknown) => error && lost.push(performance.now());
  const events = new Recording(captureEvents(client, {}, { signal, onConnection }));
  await live.first(isFrame);
  await client.capture({ camera: "sim0" });
  await events.first(() => true);

  const machine = new Machine(t);
  service.signal("SIGSTOP");
  const frozen = performance.now();
  await assert.rejects(client.capture({ camera: "sim0" }), (error) => {
    const took = performance.now() - frozen;
    t.diagnostic(`a capture was told after ${took.toFixed()} ms`);
    assert.ok(took < machine.within(NOTICED_MS), `${took} ms`);
    assert.ok(isUnreachable(error));
    assert.match(
      error.message,
      /^\[unavailable\] the camera service at .* does not answer: nothing was received for 4 s$/,
    );
    return true;
  });
  const told = (await live.first(isLost, frozen)) - frozen;
  t.diagnostic(`live view told it after ${told.toFixed()} ms`);
  const allowed = machine.within(NOTICED_MS);
  assert.ok(told < allowed && lost[0] && lost[0] - frozen < allowed);
  await assert.rejects(client.listCameras({}, { timeoutMs: 500 }), /deadline_exceeded/);
  await sleep(6000);

  service.signal("SIGCONT");
  const goesOn = performance.now();
  await client.capture({ camera: "sim0" });
  const took = performance.now() - goesOn;
  const frame = (await live.first(isFrame, goesOn)) - goesOn;
  t.diagnostic(
    `it went on: a capture after ${took.toFixed()} ms, a frame after ${frame.toFixed()} ms`,
  );
  assert.ok(took < machine.within(1500) && frame < machine.within(1500));
  const before = events.items.length;
  await client.capture({ camera: "sim0" });
  await events.first(({ case: kind }) => kind === "event", events.items[before - 1]?.at);
});

test("a network that swallows everything is noticed, also while connecting", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const relay = await Relay.start(t, service.port);
  const client = service.client(t, {}, relay.port);
  const signal = AbortSignal.timeout(40_000);
  const live = new Recording(liveView(client, { camera: "sim0" }, { signal }));
  await live.first(isFrame);
  const machine = new Machine(t);
  relay.silent = true;
  const silent = performance.now();
  const told = await live.first(isLost, silent);
  assert.ok(told - silent < machine.within(NOTICED_MS));
  await live.first(isLost, told); // by the next connection, which was not answered either
  relay.silent = false;
  await live.first(isFrame, performance.now());
  assert.ok(relay.connections >= 3);
});

test("a connection that is dead is dropped though no call is left that waits for it", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const relay = await Relay.start(t, service.port);
  const client = service.client(t, {}, relay.port);
  await client.listCameras({});
  relay.forget();
  await assert.rejects(client.listCameras({}, { timeoutMs: 200 }), /deadline_exceeded/);
  await sleep(NOTICED_MS);
  await client.listCameras({}, { timeoutMs: 500 });
  assert.equal(relay.connections, 2);
});

test("silence is no fault: rare frames, no events, a long exposure, a viewer at a standstill", async (t) => {
  const slow = camera("slow", { capture_duration_s: 7 });
  const service = await Service.start(t, camera("sim0"), slow);
  const relay = await Relay.start(t, service.port);
  const client = service.client(t, {}, relay.port);
  const signal = AbortSignal.timeout(30_000);
  const rare = new Recording(liveView(client, { camera: "sim0", maxFps: 0.1 }, { signal }));
  const events = new Recording(captureEvents(client, { camera: "slow" }, { signal }));
  const still = liveView(client, { camera: "sim0" }, { signal });
  await still.next();
  await rare.first(isFrame);
  await client.capture({ camera: "slow" });
  await sleep(4000);
  assert.equal(relay.connections, 1);
  assert.ok(!rare.items.some(({ item }) => isLost(item)));
  assert.ok(events.items.length >= 2);
  await still.return();
});

test("a process that was busy itself blames nobody", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const relay = await Relay.start(t, service.port);
  const client = service.client(t, {}, relay.port);
  const signal = AbortSignal.timeout(30_000);
  const live = new Recording(liveView(client, { camera: "sim0" }, { signal }));
  await live.first(isFrame);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 6000);
  await live.first(isFrame, performance.now());
  assert.equal(relay.connections, 1);
  assert.ok(!live.items.some(({ item }) => isLost(item)));
});
