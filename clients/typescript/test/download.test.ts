/** Pictures that are too large for one piece, and connections that do not last. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import {
  CaptureRequest_Delivery,
  DownloadImageRequest_Variant,
  downloadChunks,
  downloadImage,
  reasonOf,
} from "../src/index.js";
import { Relay } from "./support/relay.js";
import { camera, large, Service } from "./support/service.js";

const MB = 2 ** 20;
const REFERENCE = { camera: "sim0", delivery: CaptureRequest_Delivery.REFERENCE };
const sha256 = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");

test("60 MB come whole, resumed after a cut at half", async (t) => {
  const service = await Service.start(t, large("sim0", { still_bytes: 60 * MB }));
  const relay = await Relay.start(t, service.port);
  const client = service.client(t, {}, relay.port);
  const { capture } = await client.capture(REFERENCE);
  const image = capture?.image;
  const captureId = capture?.captureId ?? "";
  assert.ok(image && image.sizeBytes > 60n * 1000n * 1000n);
  relay.cutAt = relay.bytes + Number(image.sizeBytes) / 2;
  const [begun, before] = [performance.now(), relay.bytes];
  const { data, mimeType, sizeBytes, sha256: told } = await downloadImage(client, { captureId });
  t.diagnostic(`${data.length} bytes in ${(performance.now() - begun).toFixed()} ms`);
  assert.equal(relay.connections, 2);
  assert.equal(data.length, Number(image.sizeBytes));
  assert.equal(sizeBytes, data.length);
  assert.equal(sha256(data), image.sha256);
  assert.equal(told, image.sha256);
  assert.equal(mimeType, "image/jpeg");
  const sent = relay.bytes - before;
  assert.ok(sent < data.length * 1.05, `${sent} bytes were sent`); // resumed, not begun anew

  const inline = await client.capture({ camera: "sim0" }); // up to readMaxBytes, 64 MiB
  assert.equal(inline.imageData.length, Number(inline.capture?.image?.sizeBytes));
});

test("a line that is cut every 400 KB still brings it", async (t) => {
  const service = await Service.start(t, large("sim0", { still_bytes: 4 * MB }));
  const relay = await Relay.start(t, service.port);
  const client = service.client(t, {}, relay.port);
  const { capture } = await client.capture(REFERENCE);
  relay.cutEvery = 400_000;
  relay.cutAt = relay.bytes + relay.cutEvery;
  const { data } = await downloadImage(client, { captureId: capture?.captureId ?? "" });
  assert.equal(sha256(data), capture?.image?.sha256);
  t.diagnostic(`${relay.connections} connections`);
  assert.ok(relay.connections > 10 && relay.connections < 40, `${relay.connections} connections`);
});

test("piece by piece, with a break; and the thumbnail", async (t) => {
  const service = await Service.start(t, large("sim0", { still_bytes: 5 * MB }));
  const client = service.client(t, { readMaxBytes: 2 * MB });
  const { capture } = await client.capture(REFERENCE);
  const captureId = capture?.captureId ?? "";
  const pieces: Uint8Array[] = [];
  for await (const { data, offset, sizeBytes } of downloadChunks(client, { captureId })) {
    assert.equal(
      offset,
      pieces.reduce((sum, { length }) => sum + length, 0),
    );
    assert.equal(sizeBytes, Number(capture?.image?.sizeBytes));
    pieces.push(data);
  }
  assert.equal(sha256(Buffer.concat(pieces)), capture?.image?.sha256);
  for await (const _ of downloadChunks(client, { captureId })) break;
  const variant = DownloadImageRequest_Variant.THUMBNAIL;
  const thumbnail = await downloadImage(client, { captureId, variant });
  assert.ok(thumbnail.data.length < 100_000);
  assert.equal(sha256(thumbnail.data), thumbnail.sha256);
});

test("the signal ends it with its reason; what is not there is thrown", async (t) => {
  const service = await Service.start(t, camera("sim0"));
  const relay = await Relay.start(t, service.port);
  const client = service.client(t, {}, relay.port);
  const { capture } = await client.capture(REFERENCE);
  const captureId = capture?.captureId ?? "";
  const reason = new Error("enough");
  const controller = new AbortController();
  relay.silent = true;
  setTimeout(() => controller.abort(reason), 200);
  await assert.rejects(downloadImage(client, { captureId }, { signal: controller.signal }), reason);
  relay.silent = false;
  await assert.rejects(
    downloadImage(client, { captureId: "none" }),
    (error) => reasonOf(error) === "CAPTURE_NOT_FOUND",
  );
});
