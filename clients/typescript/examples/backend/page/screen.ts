/** The live picture. Whatever is not live is marked as such, with its age. */

import { byId, say } from "./dom.js";
import { FRAME_HEADER_BYTES } from "./wire.js";
import { clock, span } from "./words.js";

const RATE_MS = 2000; // over how long the frames are counted

export class Screen {
  readonly #stage = byId("stage", HTMLElement);
  readonly #canvas = byId("picture", HTMLCanvasElement);
  readonly #context = this.#canvas.getContext("bitmaprenderer");
  readonly #age = byId("age", HTMLElement);
  readonly #figures = byId("figures", HTMLElement);
  #takenAt: number | undefined; // by performance.now()
  #received = 0;
  #drawn = 0;
  #dropped = 0;
  #times: number[] = [];

  constructor(readonly camera: string) {}

  /** How wide the picture is on this screen, in its pixels. */
  get widthPx(): number {
    return this.#stage.clientWidth * devicePixelRatio;
  }

  /** The age of the picture shown, in milliseconds. Undefined: there is none. */
  get ageMs(): number | undefined {
    return this.#takenAt === undefined ? undefined : performance.now() - this.#takenAt;
  }

  /** Counts the rate from zero. */
  restart(): void {
    this.#times = [];
  }

  /** Draws a frame. Nobody sees a hidden page: it is let go, once the page is shown again. */
  async draw(message: ArrayBuffer): Promise<void> {
    const number = ++this.#received;
    const header = new DataView(message, 0, FRAME_HEADER_BYTES);
    const takenAt = performance.now() - header.getFloat64(0);
    if (document.hidden) return visible();
    const jpeg = new Blob([new Uint8Array(message, FRAME_HEADER_BYTES)], { type: "image/jpeg" });
    const bitmap = await createImageBitmap(jpeg).catch(() => undefined); // a bad frame is no frame
    if (!bitmap || number < this.#drawn) return;
    const [width, height] = [bitmap.width, bitmap.height];
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      Object.assign(this.#canvas, { width, height });
      this.#stage.style.aspectRatio = `${width} / ${height}`;
    }
    this.#context?.transferFromImageBitmap(bitmap);
    this.#drawn = number;
    this.#dropped = header.getFloat64(8);
    this.#takenAt = takenAt;
    this.#times.push(performance.now());
  }

  /**
   * Shows whether the picture is live, its age, and the figures. Without one on this page,
   * `lastMs` is the age of the camera's last.
   */
  mark(live: boolean, lastMs: number | null): void {
    const age = this.ageMs;
    const shown = live && age !== undefined;
    this.#stage.dataset["picture"] = age === undefined ? "none" : shown ? "live" : "old";
    this.#age.hidden = shown;
    const label = `${shown ? "Live view" : "Last picture, not live,"} of ${this.camera}`;
    this.#canvas.setAttribute("aria-label", label);
    const last = lastMs === null ? "" : `; the camera's last is ${span(lastMs)} old`;
    if (age === undefined) say(this.#age, `No picture yet${last}`);
    else
      say(this.#age, `Not live: picture of ${clock(new Date(Date.now() - age))}, ${span(age)} ago`);
    say(this.#figures, shown ? this.#caption() : "");
  }

  #caption(): string {
    const now = performance.now();
    this.#times = this.#times.filter((time) => now - time <= RATE_MS);
    const [first = now, ...rest] = this.#times;
    const last = this.#times.at(-1) ?? now;
    const size = `${this.#canvas.width} × ${this.#canvas.height}`;
    const rate =
      rest.length > 1 ? ` · ${Math.round((rest.length * 1000) / (last - first))} fps` : "";
    const dropped = this.#dropped > 0 ? ` · ${this.#dropped} skipped` : "";
    return size + rate + dropped;
  }
}

function visible(): Promise<void> {
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", () => resolve(), { once: true });
  });
}
