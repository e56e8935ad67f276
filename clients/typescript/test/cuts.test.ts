/** A line that breaks again and again, at whatever place. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Capture_State, captureEvents, liveView } from "../src/index.js";
import { Relay } from "./support/relay.js";
import { camera, Service } from "./support/service.js";
import { until } from "./support/waiting.js";

const CUTS = 20;
const MOST_BYTES = 60_000; // between two cuts: a frame, a few, or the middle of a picture

test("over connections cut at random, each picture is taken once and each event told once", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const relay = await Relay.start(t, service.port);
  const client = service.client(t, {}, relay.port);
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on("warning", onWarning);
  t.after(() => process.off("warning", onWarning));
  const controller = new AbortController();
  t.after(() => controller.abort());
  const { signal } = controller;

  let [frames, shown] = [0, 0n];
  const watching = (async () => {
    for await (const item of liveView(client, { camera: "sim0" }, { signal })) {
      if (item.case !== "frame") continue;
      assert.ok(item.value.sequence > shown, "no frame twice");
      shown = item.value.sequence;
      frames++;
    }
  })();
  const told: bigint[] = [];
  const listening = (async () => {
    for await (const item of captureEvents(client, { afterSequence: 0n }, { signal })) {
      assert.equal(item.case, "event");
      if (item.case === "event") told.push(item.value.sequence);
    }
  })();
  const ids: string[] = [];
  let more = true;
  const taking = (async () => {
    while (more) {
      const { capture } = await client.capture({ camera: "sim0" }, { timeoutMs: 20_000 });
      ids.push(capture?.captureId ?? "");
    }
  })();
  const all = Promise.all([watching, listening, taking]);
  all.catch(() => {}); // awaited below, unless the test has failed by then

  const begun = relay.connections;
  for (let cut = 1; cut <= CUTS; cut++) {
    relay.cutAt = relay.bytes + Math.ceil(Math.random() * MOST_BYTES);
    await until(async () => relay.connections >= begun + cut, `connection ${cut}`, 20_000);
  }
  more = false;
  await taking;
  const { captures } = await client.listCaptures({ pageSize: 1000 });
  const taken = captures.filter(({ state }) => state === Capture_State.SUCCEEDED);
  assert.deepEqual(ids.sort(), taken.map(({ captureId }) => captureId).sort());
  await until(async () => told.length >= 2 * captures.length, "all events", 10_000);
  assert.deepEqual(
    told.map(Number),
    told.map((_, index) => index + 1),
  );
  controller.abort();
  await all;
  t.diagnostic(`${ids.length} pictures, ${told.length} events, ${frames} frames`);
  assert.deepEqual(warnings, []);
});
