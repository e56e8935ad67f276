/**
 * The button that takes a picture. A press that counts has one request id, however often it has to
 * be sent: so it is one picture, at most. Until it is there, further presses do not count.
 */

import { capture, Problem } from "./api.js";
import { byId, say } from "./dom.js";
import type { CaptureView, StateView, StepView } from "./wire.js";
import { clock, sentence, span } from "./words.js";

const LEAST_MS = 800; // a second click within it was meant as one with the first
const PATIENCE_MS = 60_000; // later, nobody expects the picture any more; a busy camera has longer
const LEAST_WAIT_MS = 500;

/** Where a press is; `until` by performance.now(). */
type Phase =
  | { at: "idle" | "asked" }
  | { at: "queued"; place: number }
  | { at: "taking"; percent: number | null; again: boolean }
  | { at: "waiting"; problem: Problem; until: number };

export class Shutter {
  readonly #button = byId("shutter", HTMLButtonElement);
  readonly #cancel = byId("cancel", HTMLButtonElement);
  readonly #note = byId("shutter-note", HTMLElement);
  readonly #countdown = byId("countdown", HTMLElement);
  readonly #progress = byId("progress", HTMLProgressElement);
  #phase: Phase = { at: "idle" };
  #requestId = "";
  #outcome = "";
  #freeAt: number | undefined; // when the still that has the camera should be over
  #stop = new AbortController();

  constructor(
    readonly camera: string,
    readonly onTaken: (taken: CaptureView) => void,
  ) {
    this.#button.addEventListener("click", () => void this.#press());
    this.#cancel.addEventListener("click", () => {
      this.#stop.abort();
      this.#button.focus(); // this button goes away
    });
  }

  /** The camera's state says until when it is busy. */
  heed({ busy }: StateView): void {
    const known = busy?.remainingMs ?? undefined;
    this.#freeAt = known === undefined ? undefined : performance.now() + known;
  }

  /** Heeds those steps that are of this press. */
  follow({ step, requestId, place, percent }: StepView): void {
    if (requestId !== this.#requestId || this.#phase.at === "idle") return;
    if (step === "queued") this.#phase = { at: "queued", place: place ?? 1 };
    const again = this.#phase.at === "taking" && this.#phase.again;
    if (step === "started") this.#phase = { at: "taking", percent: null, again };
    if (step === "progress") this.#phase = { at: "taking", percent, again };
    if (step === "retrying" || step === "recovering") {
      this.#phase = { at: "taking", percent: null, again: true };
    }
    this.render();
  }

  async #press(): Promise<void> {
    if (this.#phase.at !== "idle") return;
    const least = new Promise((resolve) => setTimeout(resolve, LEAST_MS));
    this.#phase = { at: "asked" };
    this.#requestId = uuid();
    this.#stop = new AbortController();
    this.#outcome = "";
    this.#note.classList.remove("bad");
    this.render();
    try {
      const taken = await this.#take();
      this.#outcome = `Picture taken at ${clock(new Date(taken.takenAt))}.`;
      this.onTaken(taken);
    } catch (error) {
      const why = error instanceof Problem ? error.message : String(error);
      const cancelled = this.#stop.signal.aborted;
      this.#outcome = cancelled ? "Cancelled." : sentence(`No picture: ${why}`);
      this.#note.classList.toggle("bad", !cancelled);
    }
    await least;
    this.#phase = { at: "idle" };
    this.render();
  }

  /** Asks until there is a picture, or no use in asking. */
  async #take(): Promise<CaptureView> {
    const giveUpAt = performance.now() + PATIENCE_MS;
    for (;;) {
      try {
        return await capture(this.camera, this.#requestId, this.#stop.signal);
      } catch (error) {
        if (!(error instanceof Problem) || error.view.waitMs === null) throw error;
        const until = performance.now() + Math.max(LEAST_WAIT_MS, error.view.waitMs);
        if (until > giveUpAt && !error.isBusy) throw error;
        this.#phase = { at: "waiting", problem: error, until };
        this.render();
        await passed(until, this.#stop.signal);
      }
    }
  }

  /** Shows where the press is; called also as time goes by. */
  render(): void {
    const phase = this.#phase;
    const idle = phase.at === "idle";
    const waits = phase.at === "queued" || phase.at === "waiting";
    // Not `disabled`, which would take the focus away from who uses the keyboard.
    this.#button.setAttribute("aria-disabled", String(!idle));
    say(this.#button, idle ? "Take picture" : waits ? "Waiting…" : "Taking picture…");
    say(this.#note, this.#caption(phase));
    say(this.#countdown, this.#left(phase));
    this.#cancel.hidden = !waits;
    this.#progress.hidden = idle || waits;
    if (phase.at === "taking" && phase.percent !== null) this.#progress.value = phase.percent;
    else this.#progress.removeAttribute("value");
  }

  #caption(phase: Phase): string {
    switch (phase.at) {
      case "queued": {
        const next = phase.place === 1 ? "Yours is next." : `Yours is number ${phase.place}.`;
        return `The camera is busy with another picture. ${next}`;
      }
      case "taking":
        return phase.again ? "That failed. The camera is brought back and tries again." : "";
      case "waiting": {
        const { isBusy, message } = phase.problem;
        const why = isBusy ? "The camera is busy with other pictures." : sentence(message);
        return `${why} It is tried again by itself.`;
      }
      case "idle":
        return this.#outcome;
      default:
        return "";
    }
  }

  /** The time that is left, apart from the rest: it changes too frequently to be read out. */
  #left(phase: Phase): string {
    const until = phase.at === "waiting" ? phase.until : this.#freeAt;
    const leftMs = until === undefined ? undefined : until - performance.now();
    if (leftMs === undefined || phase.at === "idle" || phase.at === "asked") return "";
    if (leftMs < 500) return "any moment now";
    const left = span(Math.max(1000, leftMs));
    if (phase.at === "queued") return `free in about ${left}`;
    return phase.at === "waiting" ? `again in ${left}` : `about ${left} left`;
  }
}

function passed(until: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, until - performance.now());
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    signal.addEventListener("abort", stop, { once: true });
  });
}

/** A random UUID. `crypto.randomUUID` is missing in pages that came over plain HTTP. */
function uuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
