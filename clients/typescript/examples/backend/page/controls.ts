/** The panel of controls. Others set them too, so they are read again every few seconds. */

import { listControls, Problem, setControl } from "./api.js";
import { ControlRow } from "./control.js";
import { byId, say } from "./dom.js";
import { nameOf, ORDER, shown } from "./units.js";
import type { ControlValueView, ControlView } from "./wire.js";
import { sentence } from "./words.js";

const READ_AGAIN_MS = 4000;

export class Controls {
  readonly #panel = byId("controls", HTMLElement);
  readonly #note = byId("controls-note", HTMLElement);
  readonly #rows = new Map<string, ControlRow>();
  readonly #wanted = new Map<string, ControlValueView>(); // not sent yet; the newest of each
  #views: ControlView[] = [];
  #busy = false;

  /** `canRead` says whether the camera is at work: one that hangs is noticed sooner unasked. */
  constructor(
    readonly camera: string,
    readonly canRead: () => boolean,
  ) {
    setInterval(() => {
      if (this.canRead() && !document.hidden) void this.refresh();
    }, READ_AGAIN_MS);
  }

  /** Reads all controls. */
  async refresh(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      this.#show(await listControls(this.camera));
      say(this.#note, this.#rows.size === 0 ? "This camera has nothing to set." : "");
    } catch (error) {
      if (this.#rows.size === 0) say(this.#note, sentence((error as Error).message));
    }
    this.#busy = false;
    if (this.#wanted.size > 0) void this.#send();
  }

  #want(name: string, value: ControlValueView): void {
    this.#wanted.set(name, value);
    if (!this.#busy) void this.#send();
  }

  /** Sets one after the other. A slider on its way is sent as quickly as the camera follows. */
  async #send(): Promise<void> {
    this.#busy = true;
    for (const [name, value] of this.#wanted) {
      this.#wanted.delete(name);
      const row = this.#rows.get(name);
      try {
        const views = await setControl(this.camera, name, value);
        row?.say(adjusted(views, name, value));
        this.#show(views, name);
      } catch (error) {
        row?.say(error instanceof Problem ? plain(error) : String(error), true);
        this.#show(this.#views, name); // what it still is
      }
    }
    this.#busy = false;
  }

  /** What a person is at keeps what it shows, unless it has just been `set`. */
  #show(views: ControlView[], set?: string): void {
    this.#views = views;
    const missing = [...this.#rows.keys()].some((name) => !views.some((v) => v.name === name));
    const added = views.some(({ name }) => !this.#rows.has(name));
    if (missing || added) this.#build(views);
    for (const view of views) {
      const row = this.#rows.get(view.name);
      if (this.#wanted.has(view.name)) continue;
      if (view.name === set || !row?.isHeld) row?.show(view);
    }
  }

  #build(views: ControlView[]): void {
    const place = ({ name }: ControlView) =>
      ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length;
    this.#rows.clear();
    for (const view of views.toSorted((a, b) => place(a) - place(b))) {
      const row = new ControlRow(view, (value) => this.#want(view.name, value));
      this.#rows.set(view.name, row);
    }
    this.#panel.replaceChildren(...[...this.#rows.values()].map((row) => row.element));
  }
}

/** The service names the field in front; here it stands beside it. */
function plain({ message }: Problem): string {
  return message.replace(/^controls\[[^\]]*\]: /, "");
}

/** What to say when the camera has made another value of it. */
function adjusted(views: ControlView[], name: string, value: ControlValueView): string {
  const view = views.find((candidate) => candidate.name === name);
  if (!view || view.value === null || shown(view, view.value) === shown(view, value)) return "";
  const now = shown(view, view.value);
  return `The camera has set ${nameOf(view).toLowerCase()} to ${now}`;
}
