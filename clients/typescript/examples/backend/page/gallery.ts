/** The last ten pictures. Those taken elsewhere come by themselves. */

import { listCaptures, thumbnailUrl } from "./api.js";
import { byId, make, say } from "./dom.js";
import { load } from "./images.js";
import { Picture } from "./picture.js";
import type { CaptureView } from "./wire.js";
import { clock, sentence } from "./words.js";

const SHOWN = 10;

export class Gallery {
  readonly #list = byId("captures", HTMLOListElement);
  readonly #note = byId("captures-note", HTMLElement);
  readonly #picture = new Picture();
  readonly #items = new Map<string, HTMLLIElement>();
  #captures: CaptureView[] = [];

  constructor(readonly camera: string) {}

  async refresh(): Promise<void> {
    try {
      this.#merge(await listCaptures(this.camera, SHOWN));
    } catch (error) {
      if (this.#captures.length === 0) say(this.#note, sentence((error as Error).message));
    }
  }

  add(capture: CaptureView): void {
    this.#merge([capture]);
  }

  #merge(more: CaptureView[]): void {
    const known = new Map([...this.#captures, ...more].map((c) => [c.captureId, c]));
    this.#captures = [...known.values()]
      .sort((a, b) => b.takenAt.localeCompare(a.takenAt))
      .slice(0, SHOWN);
    const items = this.#captures.map((capture) => this.#item(capture));
    // Items that stay are not touched: they keep the focus.
    items.forEach((item, place) => {
      const there = this.#list.children[place];
      if (there !== item) this.#list.insertBefore(item, there ?? null);
    });
    while (this.#list.children.length > items.length) this.#list.lastElementChild?.remove();
    for (const [id, item] of this.#items) if (!item.isConnected) this.#items.delete(id);
    say(this.#note, items.length === 0 ? "None yet." : "");
  }

  #item(capture: CaptureView): HTMLLIElement {
    const made = this.#items.get(capture.captureId);
    if (made) return made;
    const time = clock(new Date(capture.takenAt));
    const image = make("img", { alt: `Picture of ${time}`, width: 160, height: 120 });
    const button = make("button", { type: "button" }, image, make("span", {}, time));
    const item = make("li", {}, button);
    load(image, thumbnailUrl(capture), () => image.replaceWith(make("i", {}, "No preview")));
    button.addEventListener("click", () => this.#picture.show(capture));
    this.#items.set(capture.captureId, item);
    return item;
  }
}
