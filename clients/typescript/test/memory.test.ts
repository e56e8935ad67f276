/** Live view for long costs no memory. CAMSVC_MEMORY_S=600 is the long form. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { large, Service } from "./support/service.js";

const SECONDS = Number(process.env["CAMSVC_MEMORY_S"] ?? 20);
const WARM_UP = Math.min(SECONDS / 2, 30);
const MOST_GROWTH = 20e6;

type Sample = { rss: number; frames: number; bytes: number; dropped: number };
const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;

test("frames of 200 KB at 30 fps leave the memory as it is", async (t) => {
  const service = await Service.start(t, large("sim0", { frame_bytes: 200_000, fps: 30 }));
  const viewer = fileURLToPath(new URL("support/viewer.js", import.meta.url));
  const child = spawn(process.execPath, [viewer, service.address, String(SECONDS)]);
  t.after(() => child.kill());
  child.stderr.pipe(process.stderr);
  const samples: Sample[] = [];
  for await (const line of createInterface(child.stdout)) samples.push(JSON.parse(line));
  const rss = samples.slice(WARM_UP).map((sample) => sample.rss);
  const quarter = Math.ceil(rss.length / 4);
  const growth = mean(rss.slice(-quarter)) - mean(rss.slice(0, quarter));
  const { frames, bytes, dropped } = samples.at(-1) ?? { frames: 0, bytes: 0, dropped: 0 };
  const mb = (value: number) => (value / 1e6).toFixed(1);
  t.diagnostic(`${frames} frames of ${(bytes / frames / 1e3).toFixed()} KB, ${dropped} dropped`);
  t.diagnostic(
    `RSS ${mb(Math.min(...rss))} to ${mb(Math.max(...rss))} MB, growth ${mb(growth)} MB`,
  );
  assert.ok(frames > SECONDS * 20, `${frames} frames`);
  assert.ok(growth < MOST_GROWTH);
});
