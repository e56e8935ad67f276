/** Waiting for things, and keeping what a stream gave. */

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

export { sleep };

/** Waits until something holds; `what` says at the end of the wait what did not. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string | (() => string),
  withinMs = 10_000,
): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > end) {
      assert.fail(`not within ${withinMs} ms: ${typeof what === "string" ? what : what()}`);
    }
    await sleep(5);
  }
}

/** What came of a stream, with the time of each. */
export class Recording<T> {
  readonly items: { item: T; at: number }[] = [];
  readonly ended: Promise<unknown>;

  constructor(stream: AsyncIterable<T>) {
    this.ended = this.#read(stream);
  }

  async #read(stream: AsyncIterable<T>): Promise<unknown> {
    try {
      for await (const item of stream) this.items.push({ item, at: performance.now() });
      return "ended";
    } catch (error) {
      return error;
    }
  }

  /** Waits for the first item after a moment that is so; returns the time it came. */
  async first(isIt: (item: T) => boolean, after = 0, withinMs = 10_000): Promise<number> {
    const found = () => this.items.find(({ item, at }) => at > after && isIt(item));
    await until(() => found() !== undefined, "the item", withinMs);
    return found()?.at ?? 0;
  }
}
