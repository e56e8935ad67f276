/** What the real service does not do on demand: headers seen from its side, broken promises. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { Code, createClient, createRouterTransport } from "@connectrpc/connect";
import {
  CameraService,
  type ClientOptions,
  type ConnectError,
  captureEvents,
  createCameraClient,
  downloadImage,
  errorFrom,
  frameAgeMs,
  isBusy,
  isRateLimited,
  isStorageFull,
  isUnavailable,
  isUnreachable,
  LiveStatus_State,
  liveView,
} from "../src/index.js";
import { certificate, failure, fake } from "./support/fake.js";
import { sleep } from "./support/waiting.js";

const at = (port: number, options = {}) => createCameraClient(`127.0.0.1:${port}`, options);
const msOf = (header: Headers) => Number.parseInt(header.get("grpc-timeout") ?? "", 10);

test("each attempt is told the time that is left, and a fraction of a millisecond does no harm", async (t) => {
  const left: number[] = [];
  const port = await fake(t, {
    getCamera: (_, { requestHeader }) => {
      left.push(msOf(requestHeader));
      if (left.length < 3) throw failure(Code.ResourceExhausted, "CAMERA_BUSY", 200);
      return {};
    },
  });
  const client = at(port);
  t.after(() => client.close());
  const begun = performance.now();
  await client.getCamera({ camera: "sim0" }, { timeoutMs: 20_000.5 });
  const took = performance.now() - begun;
  const [a = 0, b = 0, c = 0] = left;
  assert.ok(a <= 20_001 && a - b >= 199 && b - c >= 199 && c >= 20_000 - took, `${left}`);
});

test("the time to give up a call without a deadline begins with its first failure", async (t) => {
  let calls = 0;
  const port = await fake(t, {
    capture: async () => {
      if (++calls === 3) return {};
      await sleep(calls === 1 ? 2500 : 0); // a long exposure
      throw failure(Code.Unavailable, "CAMERA_UNAVAILABLE", 100);
    },
  });
  const client = at(port, { giveUpAfterMs: 2000 });
  t.after(() => client.close());
  await client.capture({ camera: "sim0" });
  assert.equal(calls, 3);
});

test("no retry where the service names no time, or where it is not its own reason", async (t) => {
  let calls = 0;
  const errors = [
    failure(Code.ResourceExhausted, "STORAGE_FULL"),
    failure(Code.ResourceExhausted, "CAMERA_BUSY"),
    failure(Code.Unavailable, "CAMERA_UNAVAILABLE", 60_000),
    failure(Code.ResourceExhausted, "RATE_LIMITED", 60_000),
    Object.assign(failure(Code.ResourceExhausted, "CAMERA_BUSY", 100), { details: [] }),
  ];
  const port = await fake(t, {
    capture: () => {
      throw errors[calls++];
    },
  });
  const client = at(port);
  t.after(() => client.close());
  const call = () => client.capture({ camera: "sim0" }, { timeoutMs: 10_000 });
  await assert.rejects(call(), (error) => isStorageFull(error) && error.waitMs === undefined);
  await assert.rejects(
    call(),
    (error) => isBusy(error) && error.waitMs === undefined && !error.holder,
  );
  await assert.rejects(call(), (error) => isUnavailable(error) && error.waitMs === 60_000);
  await assert.rejects(call(), (error) => isRateLimited(error) && error.waitMs === 60_000);
  await assert.rejects(call(), (error) => !isBusy(error) && !isUnreachable(error));
  assert.equal(calls, 5);
});

test("a file that is not what was promised is an error", async (t) => {
  const data = randomBytes(1000);
  const [sizeBytes, mimeType] = [1000n, "image/jpeg"];
  const sha256 = createHash("sha256").update(data).digest("hex");
  const answers = [
    [{ data, sizeBytes, sha256: "0".repeat(64), mimeType }],
    [{ data, sizeBytes: 999n, sha256, mimeType }],
    [{ data: data.subarray(0, 400), sizeBytes, sha256, mimeType }], // ends early, and
    [{ data: data.subarray(400), sizeBytes, sha256, mimeType }], // is asked for the rest
  ];
  const offsets: bigint[] = [];
  const port = await fake(t, {
    async *downloadImage({ readOffset }) {
      offsets.push(readOffset);
      yield* answers.shift() ?? [];
    },
  });
  const client = at(port);
  t.after(() => client.close());
  const damaged = (error: ConnectError) => error.code === Code.DataLoss;
  await assert.rejects(downloadImage(client, { captureId: "a" }), damaged);
  await assert.rejects(downloadImage(client, { captureId: "a" }), damaged);
  const image = await downloadImage(client, { captureId: "a" });
  assert.deepEqual(Buffer.from(image.data), data);
  assert.deepEqual(offsets, [0n, 0n, 0n, 400n]);
});

test("when the history was replaced, events begin anew, and say so", async (t) => {
  const asked: (bigint | undefined)[] = [];
  const port = await fake(t, {
    async *captureEvents({ afterSequence }) {
      asked.push(afterSequence);
      if (asked.length === 1) yield { payload: { case: "heartbeat", value: { lastSequence: 7n } } };
      else if (asked.length === 2) {
        throw failure(Code.InvalidArgument, "INVALID_REQUEST", undefined, { last_sequence: "1" });
      } else {
        yield { payload: { case: "event", value: { sequence: 1n } } };
        yield { payload: { case: "event", value: { sequence: 1n } } }; // once is enough
        yield { payload: { case: "gap", value: { firstAvailableSequence: 5n } } };
        yield { payload: { case: "event", value: { sequence: 5n } } };
      }
    },
  });
  const client = at(port);
  t.after(() => client.close());
  const items: string[] = [];
  for await (const { case: kind, value } of captureEvents(client)) {
    items.push(
      kind === "event" ? `event ${value.sequence}` : `gap ${value.firstAvailableSequence}`,
    );
    if (items.length === 4) break;
  }
  assert.deepEqual(items, ["gap 1", "event 1", "gap 5", "event 5"]);
  assert.deepEqual(asked, [undefined, 7n, 0n]);
});

test("TLS and a token, asked for anew with each call", async (t) => {
  const own = certificate();
  if (!own) return t.skip("no openssl");
  const seen: (string | null)[] = [];
  const listCameras = (_: unknown, { requestHeader }: { requestHeader: Headers }) => {
    seen.push(requestHeader.get("authorization"));
    return {};
  };
  const port = await fake(t, { listCameras }, own);
  let number = 0;
  const client = at(port, { tls: { ca: own.cert }, token: async () => `t${++number}` });
  t.after(() => client.close());
  await client.listCameras({});
  await client.listCameras({});
  const fixed = at(port, { tls: { ca: own.cert }, token: "secret" });
  t.after(() => fixed.close());
  await fixed.listCameras({});
  assert.deepEqual(seen, ["Bearer t1", "Bearer t2", "Bearer secret"]);
  const begun = performance.now();
  const distrustful = at(port, { tls: true });
  t.after(() => distrustful.close());
  await assert.rejects(distrustful.listCameras({}), /self-signed/);
  assert.ok(performance.now() - begun < 1000, "not repeated");
});

test("an address is host:port", () => {
  for (const good of ["localhost:1", "10.0.0.1:50051", "[::1]:50051", "cam-1.example:443"]) {
    createCameraClient(good);
  }
  for (const bad of ["localhost", "http://x:1", "a:b", "::1:50051", "a b:1", "a:65536", ""]) {
    assert.throws(() => createCameraClient(bad), /is not host:port/);
  }
});

test("options that cannot be are told at once, and a token to nobody else", async (t) => {
  const made = (options: ClientOptions) => () => createCameraClient("cameras.example:1", options);
  assert.throws(made({ giveUpAfterMs: -1 }), /giveUpAfterMs is -1; allowed: 0 to Infinity/);
  assert.throws(made({ readMaxBytes: Number.NaN }), /readMaxBytes is NaN; allowed: 1 to \d+/);
  assert.throws(made({ tls: { cert: "no PEM" } }), /PEM/);
  assert.throws(made({ token: "secret" }), /a token would travel .* unencrypted: set tls/);
  assert.ok(made({ token: "secret", tls: true })());
  const client = at(await fake(t, { listCameras: () => ({}) }), { token: "two\nwords\n" });
  t.after(() => client.close());
  await assert.rejects(client.listCameras({}), (error) => {
    assert.match(String(error), /the token is not one word of ASCII/);
    assert.doesNotMatch(String(error), /two|words/);
    return true;
  });
});

test("the streams take any client of the service, and errors survive as part of a message", async () => {
  const transport = createRouterTransport(({ service }) =>
    service(CameraService, {
      async *liveView() {
        yield { payload: { case: "frame", value: { sequence: 1n, framesDropped: 2n } } };
        throw failure(Code.ResourceExhausted, "QUEUE_FULL", 50, { limit: "1" });
      },
    }),
  );
  const client = createClient(CameraService, transport);
  const dropped: bigint[] = [];
  for await (const item of liveView(client, { camera: "sim0" })) {
    if (item.case === "frame") dropped.push(item.value.framesDropped);
    else {
      assert.equal(item.case, "status");
      assert.equal(item.value.state, LiveStatus_State.RECOVERING);
      const error = item.value.error && errorFrom(item.value.error);
      assert.ok(isBusy(error) && error.waitMs === 50 && error.info["limit"] === "1");
    }
    if (dropped.length === 3) break;
  }
  assert.deepEqual(dropped, [2n, 4n, 6n]);
});

test("the age of a frame is by the service and no wall clock", async (t) => {
  const port = await fake(t, {
    async *liveView() {
      const age = { seconds: 5n, nanos: 5e8 };
      yield { payload: { case: "frame", value: { sequence: 1n, age } } };
      await sleep(200);
      yield { payload: { case: "frame", value: { sequence: 2n } } };
      await sleep(200);
    },
  });
  const client = at(port);
  t.after(() => client.close());
  for await (const { case: kind, value } of liveView(client, { camera: "sim0" })) {
    assert.ok(kind === "frame");
    const age = frameAgeMs(value);
    if (value.sequence === 2n) {
      assert.equal(age, undefined);
      break;
    }
    assert.ok(age !== undefined && age >= 5500 && age < 60_000);
    await sleep(50);
    assert.ok((frameAgeMs(value) ?? 0) >= age + 49);
  }
});
