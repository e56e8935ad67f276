/** How a camera is, gathered from its live view's statuses and from the camera itself. */

import {
  type Camera,
  Camera_State,
  type CameraClient,
  type LiveStatus,
  LiveStatus_State as State,
  type Unreachable,
} from "@camsvc/client";
import type { Live, StateView } from "../page/wire.js";
import type { ServiceClock } from "./clock.js";

const LIVE: Record<State, Live> = {
  [State.UNSPECIFIED]: "starting",
  [State.STARTING]: "starting",
  [State.LIVE]: "live",
  [State.PAUSED]: "paused",
  [State.RECOVERING]: "recovering",
  [State.OFFLINE]: "offline",
};
const DOWN = [Camera_State.AWAY, Camera_State.RECOVERING, Camera_State.FAULTED];
const LOOK_MS = 2000;

/** Since when the service cannot be reached; all pages share one, and see the same. */
export class Outage {
  since: number | undefined;

  constructor(private readonly log: (message: string) => void) {}

  began(): void {
    if (this.since === undefined) this.log("the camera service cannot be reached");
    this.since ??= Date.now();
  }

  over(): void {
    if (this.since !== undefined) this.log("the camera service is back");
    this.since = undefined;
  }
}

export class Condition {
  #live: Live = "starting";
  #since = Date.now();
  #status: Pick<LiveStatus, "reason" | "lastFrameTime"> = { reason: "" };
  #camera: Camera | undefined;
  #looking = false;
  #again = false;

  /** `publish` is called at each change, until the signal aborts. */
  constructor(
    private readonly client: CameraClient,
    private readonly camera: string,
    private readonly outage: Outage,
    private readonly clock: ServiceClock,
    private readonly signal: AbortSignal,
    private readonly publish: (state: StateView) => void,
  ) {}

  /** A status has come. */
  took(status: LiveStatus): void {
    this.#become(LIVE[status.state]);
    this.#status = status;
    this.#publish();
    this.look();
  }

  /** The service cannot be reached. */
  lost(status: Unreachable): void {
    this.outage.began();
    this.#become("unreachable");
    this.#status = status;
    this.#publish();
  }

  /** There is no live view, and there will be none. */
  ended(reason: string): void {
    this.#become("none");
    this.#status = { reason };
    this.#publish();
  }

  /** Looks at the camera, once more if it is looking already, and publishes. */
  look(): void {
    this.#again = true;
    if (!this.#looking) void this.#look();
  }

  async #look(): Promise<void> {
    this.#looking = true;
    while (this.#again && !this.signal.aborted) {
      this.#again = false;
      try {
        const options = { signal: this.signal, timeoutMs: LOOK_MS };
        this.#camera = (await this.client.getCamera({ camera: this.camera }, options)).camera;
      } catch {
        this.#camera = undefined; // the streams report what is wrong
      }
      this.#publish();
    }
    this.#looking = false;
  }

  #become(live: Live): void {
    if (live === this.#live) return;
    this.#live = live;
    this.#since = Date.now();
  }

  #publish(): void {
    if (this.signal.aborted) return;
    const { lastFrameTime, reason } = this.#status;
    const { activeCapture: active, warnings = [] } = this.#camera ?? {};
    const overMs = this.clock.sinceMs(active?.expectedEndTime);
    const remainingMs = overMs === null ? null : Math.max(0, -overMs);
    const lastMs = this.clock.sinceMs(lastFrameTime);
    this.publish({
      live: this.#live,
      reason: this.#live === "unreachable" ? "" : reason, // it has the service's address
      sinceMs: Math.max(0, this.#sinceMs()),
      lastFrameAgeMs: lastMs === null ? null : Math.max(0, lastMs),
      busy: active ? { requestId: active.requestId, remainingMs } : null,
      warnings,
    });
  }

  /** How long that has been so: a page that came later sees the time before it, too. */
  #sinceMs(): number {
    const { state, stateTime } = this.#camera ?? {};
    const down = state !== undefined && DOWN.includes(state);
    const cameras = ["recovering", "offline"].includes(this.#live) && down;
    const knownMs = cameras ? this.clock.sinceMs(stateTime) : null;
    const began = this.#live === "unreachable" ? (this.outage.since ?? this.#since) : this.#since;
    return knownMs ?? Date.now() - began;
  }
}
