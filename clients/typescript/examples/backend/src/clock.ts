/** The service's wall clock, as seen from here: nobody subtracts the clocks of two machines. */

import { frameAgeMs, type LiveFrame } from "@camsvc/client";
import { msOf, type Span } from "./views.js";

export class ServiceClock {
  #aheadMs: number | undefined; // of `performance.now()`

  /** A frame tells what time it is there: when it was taken, and how long ago that was. */
  heard(frame: LiveFrame): void {
    const age = frameAgeMs(frame);
    if (age === undefined || !frame.acquisitionTime) return;
    this.#aheadMs = msOf(frame.acquisitionTime) + age - performance.now();
  }

  /** For how long a time there has been over; negative: it is to come. Null: nobody knows. */
  sinceMs(time: Span | undefined): number | null {
    if (time === undefined || this.#aheadMs === undefined) return null;
    return performance.now() + this.#aheadMs - msOf(time);
  }
}
