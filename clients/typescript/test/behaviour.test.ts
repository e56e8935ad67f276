/**
 * The table that both clients share, clients/behaviour.json, row by row against a real service.
 *
 * The Python client's tests run the same rows: tests/clients/python/test_behaviour.py.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import * as api from "../src/index.js";
import { SILENCE_MS } from "../src/options.js";
import { STATUS_REPEAT_MS } from "../src/resume.js";
import * as retry from "../src/retry.js";
import { Machine } from "./support/machine.js";
import { Relay } from "./support/relay.js";
import { camera, type Fault, Service } from "./support/service.js";
import { sleep, until } from "./support/waiting.js";

interface Row {
  situation: string;
  doing: string;
  case?: string;
  camera?: { faults?: Fault[] } & Record<string, unknown>;
  client?: Figures;
  timeout_s?: number;
  at?: "beginning";
  result?: true;
  presses?: number;
  again?: true;
  error?: string;
  when?: string;
  message?: string;
  sees?: string[];
  never?: string[];
}
type Figures = Record<string, number>;
interface Table {
  defaults: Figures;
  errors: Record<string, { typescript: string }>;
  rows: Row[];
}

const FILE = new URL("../../../behaviour.json", import.meta.url);
const TABLE = JSON.parse(readFileSync(FILE, "utf8")) as Table;
const CAMERA = { camera: "sim0" };
const SOON_MS = 300; // when the caller cancels, or the service is started again
// Short figures where the test has to wait for them, a long one where a busy machine may be slow.
const FIGURES: Record<string, Figures> = {
  frozen: { silence_s: 1 },
  dead: { silence_s: 1 },
  gone: { reconnect_s: 1 },
  restarted: { reconnect_s: 60 },
};

test("the defaults are those of the table", () => {
  assert.deepEqual(TABLE.defaults, {
    give_up_after_s: retry.GIVE_UP_AFTER_MS / 1000,
    reconnect_s: retry.RECONNECT_MS / 1000,
    silence_s: SILENCE_MS / 1000,
    quick_timeout_s: retry.QUICK_MS / 1000,
    status_repeat_s: STATUS_REPEAT_MS / 1000,
    backoff_initial_s: retry.BACKOFF.initialMs / 1000,
    backoff_max_s: retry.BACKOFF.maxMs / 1000,
    backoff_jitter: retry.BACKOFF.jitter,
  });
});

test("back-offs grow to their maximum and vary", () => {
  const { initialMs, maxMs, jitter } = retry.BACKOFF;
  const lost = new api.ConnectError("lost", api.Code.Unavailable);
  const runs = Array.from({ length: 200 }, () => {
    const schedule = new retry.RetrySchedule(retry.FOR_EVER, "");
    return Array.from({ length: 5 }, () => schedule.waitMs(lost) ?? 0);
  });
  for (let n = 0; n < 5; n++) {
    const base = Math.min(maxMs, initialMs * 2 ** n);
    const [low, high] = [base * (1 - jitter), base * (1 + jitter)];
    const waits = runs.map((run) => run[n] ?? 0);
    assert.ok(waits.every((wait) => wait >= low && wait <= high));
    assert.ok(Math.max(...waits) - Math.min(...waits) > 0.5 * (high - low));
  }
});

for (const row of TABLE.rows) {
  const name = `${row.situation}${row.case ? ` ${row.case}` : ""}: ${row.doing}`;
  test(`what a user sees: ${name}`, async (t) => {
    const scene = await Scene.start(t, row);
    await (row.doing in OPENED ? streams(scene) : calls(scene));
  });
}

/** A row that is being played. */
class Scene {
  captureId = "";

  private constructor(
    readonly row: Row,
    readonly figures: Figures,
    readonly service: Service,
    readonly relay: Relay | undefined,
    readonly client: api.CameraClient,
    readonly other: api.CameraClient,
    readonly machine: Machine,
  ) {}

  static async start(t: TestContext, row: Row): Promise<Scene> {
    const { faults = [], ...keys } = row.camera ?? {};
    const service = await Service.start(t, camera("sim0", keys, ...faults));
    const relayed = ["cut", "dead"].includes(row.situation);
    const relay = relayed ? await Relay.start(t, service.port) : undefined;
    const figures = { ...TABLE.defaults, ...FIGURES[row.situation], ...row.client };
    const client = service.client(
      t,
      {
        giveUpAfterMs: ms(figures["give_up_after_s"]),
        reconnectMs: ms(figures["reconnect_s"]),
        silenceMs: ms(figures["silence_s"]),
      },
      relay?.port,
    );
    const timed = { ...figures, "at once": 0, timeout_s: row.timeout_s ?? 0 };
    const machine = new Machine(t);
    return new Scene(row, timed, service, relay, client, service.client(t), machine);
  }

  /** The row's time-out, as an option of a call. */
  get timeoutMs(): { timeoutMs?: number } {
    const { timeout_s } = this.row;
    return timeout_s === undefined ? {} : { timeoutMs: ms(timeout_s) };
  }

  /** How long the row's stream tries to reach the service. */
  get reconnectMs(): number {
    return ms(this.figures["reconnect_s"]);
  }

  /** Checks when it was seen, against the row's figure and the control. */
  checkTime(tookMs: number): void {
    const { when } = this.row;
    if (when === undefined) return;
    const figureMs = ms(this.figures[when]);
    assert.ok(tookMs >= 0.7 * figureMs, `${when}: ${tookMs} ms`);
    const mostMs = this.machine.within(figureMs + 750);
    assert.ok(tookMs <= mostMs, `${when}: ${tookMs} ms, allowed ${mostMs}`);
  }

  async state(wanted: api.Camera_State): Promise<void> {
    await until(
      async () => (await this.other.getCamera(CAMERA)).camera?.state === wanted,
      "the camera's state",
    );
  }
}

function ms(seconds: number | undefined): number {
  return 1000 * (seconds ?? Number.NaN);
}

// What happens.

const nothing = async () => {}; // the camera's settings do it, or the call's

const HAPPENS: Record<string, (scene: Scene) => Promise<void>> = {
  busy: async (scene) => {
    scene.other.capture(CAMERA).catch(() => {});
    await scene.state(api.Camera_State.CAPTURING);
  },
  full: async (scene) => {
    const view = api.liveView(scene.other, CAMERA);
    await view.next();
    setTimeout(() => void view.return(), SOON_MS);
  },
  away: async (scene) => {
    if (scene.row.timeout_s === undefined) return;
    // The first to ask opens the camera.
    scene.other.capture(CAMERA).catch(() => {});
    await scene.state(api.Camera_State.AWAY);
  },
  faulted: async (scene) => {
    await assert.rejects(scene.other.capture(CAMERA), api.isFaulted); // opens it, which takes time
  },
  deadline: nothing,
  cancelled: nothing,
  gone: (scene) => scene.service.kill(),
  restarted: async (scene) => {
    await scene.service.kill();
    setTimeout(() => void scene.service.start(), SOON_MS);
  },
  frozen: async (scene) => scene.service.signal("SIGSTOP"),
  "held up": async (scene) => {
    scene.service.signal("SIGSTOP");
    setTimeout(() => scene.service.signal("SIGCONT"), ms(scene.figures["silence_s"]) / 2);
  },
  dead: async ({ relay }) => relay?.forget(),
  cut: async ({ relay, row }) => {
    if (row.doing in OPENED) relay?.cut();
    else if (relay) relay.cutAt = relay.bytes + 5;
  },
};

function happens(scene: Scene): Promise<void> {
  const happen = HAPPENS[scene.row.situation];
  assert.ok(happen, `no such situation: ${scene.row.situation}`);
  return happen(scene);
}

// Calls.

type Call = (scene: Scene, signal: AbortSignal) => Promise<unknown>;
const CALLED: Record<string, Call> = {
  list: ({ client, timeoutMs }, signal) => client.listCameras({}, { signal, ...timeoutMs }),
  capture: ({ client, timeoutMs }, signal) => client.capture(CAMERA, { signal, ...timeoutMs }),
  delete: ({ client, captureId }, signal) => client.deleteCapture({ captureId }, { signal }),
  reset: ({ client }, signal) => client.resetCamera(CAMERA, { signal }),
  download: ({ client, captureId, reconnectMs }, signal) =>
    api.downloadImage(client, { captureId }, { signal, reconnectMs }),
};

async function calls(scene: Scene): Promise<void> {
  const { row, client, other } = scene;
  const call = CALLED[row.doing];
  assert.ok(call, `no such call: ${row.doing}`);
  // Opens the camera, and connects.
  if (!["away", "faulted"].includes(row.situation)) await client.listControls(CAMERA);
  if (["delete", "download"].includes(row.doing)) {
    scene.captureId = (await other.capture(CAMERA)).capture?.captureId ?? "";
  }
  await happens(scene);
  const controller = new AbortController();
  let begun = performance.now();
  const outcome = call(scene, controller.signal).then(
    (result) => ({ result, error: undefined }),
    (error: unknown) => ({ result: undefined, error }),
  );
  if (row.situation === "cancelled") {
    await sleep(SOON_MS);
    begun = performance.now();
    controller.abort();
  }
  const { result, error } = await outcome;
  const took = performance.now() - begun;
  if (row.result) {
    if (error) throw error;
    if (row.presses) assert.equal(presses(result as api.CaptureResponse), row.presses);
    scene.checkTime(took);
    return;
  }
  checkError(row, error);
  scene.checkTime(took);
  if (!row.again) return;
  const requestId = api.requestIdOf(error);
  assert.ok(requestId);
  scene.service.signal("SIGCONT");
  assert.equal(presses(await client.capture({ ...CAMERA, requestId }, { timeoutMs: 30_000 })), 1);
}

function presses({ capture }: api.CaptureResponse): number {
  const control = capture?.controls.find(({ name }) => name === "shutter_actuations");
  return Number(control?.value?.kind.value);
}

const KINDS: Record<string, (error: unknown) => boolean> = {
  isBusy: api.isBusy,
  isFaulted: api.isFaulted,
  isUnavailable: api.isUnavailable,
  isUnreachable: api.isUnreachable,
};

function checkError(row: Row, error: unknown): void {
  const name = TABLE.errors[row.error ?? ""]?.typescript ?? "";
  assert.ok(error instanceof api.ConnectError, `${row.error}: ${error}`);
  if (name.startsWith("Code.")) {
    assert.equal(error.code, api.Code[name.slice("Code.".length) as keyof typeof api.Code]);
  } else {
    assert.ok(KINDS[name]?.(error), `${name}: ${error}`);
  }
  assert.match(error.rawMessage, new RegExp(row.message ?? ""));
  if (api.isBusy(error)) assert.ok(error.holder?.captureId);
  if (api.isBusy(error) || api.isUnavailable(error)) assert.ok(error.waitMs);
}

// Streams.

/** What a stream has shown, as the table names it, with the time of each. */
class Seen {
  readonly labels: { label: string; at: number }[] = [];
  readonly numbers: number[] = [];

  add(label: string): void {
    this.labels.push({ label, at: performance.now() });
  }

  /** Whether all of it was seen since a time, in this order. */
  has(wanted: string[], since: number): boolean {
    const left = [...wanted];
    for (const { label, at } of this.labels) if (at >= since && label === left[0]) left.shift();
    return left.length === 0;
  }
}

const OPENED: Record<string, (scene: Scene, seen: Seen, signal: AbortSignal) => Promise<void>> = {
  "live view": async ({ client, reconnectMs }, seen, signal) => {
    for await (const item of api.liveView(client, CAMERA, { signal, reconnectMs })) {
      const state = item.case === "status" ? api.LiveStatus_State[item.value.state] : undefined;
      seen.add(state ?? (item.case === "frame" ? "frame" : item.case.toUpperCase()));
    }
  },
  events: async ({ client, reconnectMs }, seen, signal) => {
    const onConnection = (error: unknown) => seen.add(error ? "lost" : "back");
    const options = { signal, reconnectMs, onConnection };
    for await (const item of api.captureEvents(client, { afterSequence: 0n }, options)) {
      assert.equal(item.case, "event");
      if (item.case === "event") seen.numbers.push(Number(item.value.sequence));
      seen.add("event");
    }
  },
};

async function streams(scene: Scene): Promise<void> {
  const { row, service, other } = scene;
  const seen = new Seen();
  const wanted = [...(row.sees ?? [])];
  const controller = new AbortController();
  let failed: { error: unknown } | undefined;
  const sees = (labels: string[], since = 0) =>
    until(
      () => {
        if (failed && !seen.has(labels, since)) throw failed.error;
        return seen.has(labels, since);
      },
      () => `${labels}, of ${seen.labels.map(({ label }) => label)}`,
      40_000,
    );
  if (wanted.includes("event")) await other.capture(CAMERA);
  if (row.at === "beginning") await happens(scene);
  let happened = performance.now();
  const reading = OPENED[row.doing]?.(scene, seen, controller.signal).catch((error: unknown) => {
    failed = { error };
  });
  try {
    if (row.at !== "beginning") {
      await sees(wanted.splice(0, 1));
      happened = performance.now();
      await happens(scene);
    }
    if (row.situation === "frozen") {
      await sees(wanted.splice(0, 1), happened);
      scene.checkTime((seen.labels.at(-1)?.at ?? 0) - happened);
      service.signal("SIGCONT");
    }
    if (wanted.at(-1) === "event") {
      other.capture(CAMERA, { timeoutMs: 60_000 }).catch(() => {});
    }
    await sees(wanted, happened);
    if (row.error) {
      await reading;
      scene.checkTime(performance.now() - happened);
      checkError(row, failed?.error);
      return;
    }
  } finally {
    controller.abort();
    await reading;
  }
  assert.equal(failed, undefined); // ended by the caller: without an error
  for (const { label } of seen.labels) assert.ok(!row.never?.includes(label), label);
  assert.deepEqual(
    seen.numbers,
    seen.numbers.map((_, index) => index + 1),
  );
}
