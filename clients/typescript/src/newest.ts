import type { LiveItem } from "./live.js";

/** Keeps reading while the consumer is busy, and keeps for it the newest of each kind. */
export async function* newest(
  source: AsyncIterable<LiveItem>,
  signal: AbortSignal,
): AsyncGenerator<LiveItem, void> {
  const kept = new Map<LiveItem["case"], LiveItem>(); // in the order of arrival
  let wake = () => {};
  let ended = false;
  const read = async () => {
    let dropped = 0n;
    for await (const item of source) {
      if (item.case === "frame" && kept.has("frame")) dropped++;
      if (item.case === "frame") item.value.framesDropped += dropped;
      kept.delete(item.case);
      kept.set(item.case, item);
      wake();
    }
  };
  const reading = read().finally(() => {
    ended = true;
    wake();
  });
  reading.catch(() => {}); // thrown below, unless the consumer has left
  while (!signal.aborted && (!ended || kept.size > 0)) {
    const [next] = kept.values();
    if (next) {
      kept.delete(next.case);
      yield next;
    } else await new Promise<void>((resolve) => (wake = resolve));
  }
  await reading;
}
