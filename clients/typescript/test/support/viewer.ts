/** A viewer in a process of its own: `viewer.js HOST:PORT SECONDS`. Prints its memory every second. */

import { createCameraClient, liveView } from "../../src/index.js";

const [address = "", seconds = ""] = process.argv.slice(2);
const signal = AbortSignal.timeout(Number(seconds) * 1000);
let [frames, bytes, dropped] = [0, 0, 0n];
const timer = setInterval(() => {
  const rss = process.memoryUsage.rss();
  console.log(JSON.stringify({ rss, frames, bytes, dropped: Number(dropped) }));
}, 1000);
const client = createCameraClient(address);
for await (const item of liveView(client, { camera: "sim0" }, { signal })) {
  if (item.case !== "frame") continue;
  frames++;
  bytes += item.value.data.length;
  dropped = item.value.framesDropped;
}
clearInterval(timer);
