/** Events: each once, in order, whatever happens in between. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Capture_State,
  type CaptureEvent,
  CaptureEvent_Type,
  captureEvents,
  type EventItem,
  type LiveItem,
  liveView,
  reasonOf,
} from "../src/index.js";
import { Machine } from "./support/machine.js";
import { camera, Service } from "./support/service.js";
import { Recording, sleep, until } from "./support/waiting.js";

const isFrame = (item: LiveItem) => item.case === "frame";
const events = (record: Recording<EventItem>): CaptureEvent[] =>
  record.items.flatMap(({ item }) => (item.case === "event" ? [item.value] : []));

test("live view, events and a capture loop go on over kill -9 and restart: none missed, none twice", async (t) => {
  const service = await Service.start(t, camera("sim0", { capture_duration_s: 0.2 }));
  const client = service.client(t);
  const controller = new AbortController();
  t.after(() => controller.abort());
  const { signal } = controller;
  let [ready, lost] = [0, 0];
  const record = new Recording(
    captureEvents(
      client,
      {},
      { signal, onReady: () => ready++, onConnection: (error) => (lost += error ? 1 : 0) },
    ),
  );
  await until(() => ready === 1, "ready");
  const live = new Recording(liveView(client, { camera: "sim0" }, { signal }));
  await live.first(isFrame);

  const ids: string[] = [];
  let [last, longest] = [0, 0];
  let more = true;
  const loop = (async () => {
    while (more) {
      const { capture } = await client.capture({ camera: "sim0" }, { timeoutMs: 30_000 });
      ids.push(capture?.captureId ?? "");
      longest = Math.max(longest, performance.now() - (last || performance.now()));
      last = performance.now();
    }
  })();
  loop.catch(() => {}); // awaited below, unless the test has failed by then
  await until(() => ids.length >= 3, "three pictures");
  await service.kill();
  await sleep(3000);
  assert.equal(lost, 1);
  await service.start();
  const machine = new Machine(t);
  const back = performance.now();
  await until(() => last > back, "the next picture");
  const picture = last - back;
  const event = (await record.first(() => true, back)) - back;
  const frame = (await live.first(isFrame, back)) - back;
  // Picture and frame had to wait for the camera to be opened again; the event says that it was begun.
  const after = { event, picture, frame };
  t.diagnostic(`after the service was back, in ms: ${JSON.stringify(after)}`);
  assert.ok(event < machine.within(1000), `${event} ms`);
  await until(() => ids.length >= 6, "more pictures");
  more = false;
  await loop;

  const all = new Recording(captureEvents(client, { afterSequence: 0n }, { signal }));
  const { captures } = await client.listCaptures({ pageSize: 1000 });
  const ended = () => events(all).filter(({ capture }) => capture).length === captures.length;
  await until(ended, "all events");
  const numbers = (of: Recording<EventItem>) => events(of).map(({ sequence }) => Number(sequence));
  await until(() => numbers(record).at(-1) === numbers(all).at(-1), "the last event");
  assert.deepEqual(numbers(record), numbers(all));
  assert.deepEqual(
    numbers(all),
    [...numbers(all).keys()].map((index) => index + 1),
  );

  const taken = captures.filter(({ state }) => state === Capture_State.SUCCEEDED);
  assert.deepEqual(taken.map(({ captureId }) => captureId).sort(), [...new Set(ids)].sort());
  assert.equal(new Set(taken.map(({ requestId }) => requestId)).size, taken.length);
  assert.equal(ids.length, taken.length);
});

test("before the first event, too, the place is known", async (t) => {
  const service = await Service.start(t, camera("sim0"), camera("sim1"));
  const client = service.client(t);
  await client.capture({ camera: "sim0" });
  const signal = AbortSignal.timeout(30_000);
  let ready = 0;
  const of = { camera: "sim0" };
  const record = new Recording(captureEvents(client, of, { signal, onReady: () => ready++ }));
  await until(() => ready === 1, "ready");
  await sleep(100);
  await service.kill();
  await service.start();
  const other = service.client(t);
  await other.capture({ camera: "sim1" });
  const { capture } = await other.capture({ camera: "sim0" });
  await until(() => events(record).some((event) => event.capture !== undefined), "its end");
  assert.deepEqual(
    [...new Set(events(record).map(({ captureId }) => captureId))],
    [capture?.captureId],
  );
  assert.equal(events(record)[0]?.type, CaptureEvent_Type.STARTED);
});

test("a break cancels, the signal ends quietly, an unknown camera is thrown", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const client = service.client(t);
  await client.capture({ camera: "sim0" });
  for await (const item of captureEvents(client, { afterSequence: 0n })) {
    assert.equal(item.case, "event");
    break;
  }
  const controller = new AbortController();
  const record = new Recording(captureEvents(client, {}, { signal: controller.signal }));
  await sleep(100);
  controller.abort();
  assert.equal(await record.ended, "ended");
  const unknown = new Recording(captureEvents(client, { camera: "sim9" }));
  assert.equal(reasonOf(await unknown.ended), "CAMERA_NOT_FOUND");
  const beyond = new Recording(captureEvents(client, { afterSequence: 1000n }));
  assert.equal(reasonOf(await beyond.ended), "INVALID_REQUEST");
});
