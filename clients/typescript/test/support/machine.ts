/** The control of timed promises: how late this machine is, measured while a test runs. */

import type { TestContext } from "node:test";

const STEP_MS = 10;
const FACTOR = 10; // a promise passes through several processes, each of which has to get its turn

export class Machine {
  /** By how much a timer was late, at most, since the test began. */
  #lateMs = 0;

  /** Measures until the end of the test. */
  constructor(t: TestContext) {
    let last = performance.now();
    const timer = setInterval(() => {
      this.#lateMs = Math.max(this.#lateMs, performance.now() - last - STEP_MS);
      last = performance.now();
    }, STEP_MS);
    t.after(() => clearInterval(timer));
  }

  /** How long a promise may take here: as promised, and what the machine adds. */
  within(ms: number): number {
    return ms + FACTOR * this.#lateMs;
  }
}
