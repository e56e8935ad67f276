/** The dialog with the full picture. */

import { downloadUrl, imageUrl, whyNot } from "./api.js";
import { byId, make, say } from "./dom.js";
import { load } from "./images.js";
import { rounded } from "./units.js";
import type { CaptureView } from "./wire.js";
import { bytes, clock, sentence } from "./words.js";

export class Picture {
  readonly #dialog = byId("dialog", HTMLDialogElement);
  readonly #title = byId("dialog-title", HTMLElement);
  readonly #frame = byId("dialog-frame", HTMLElement);
  readonly #facts = byId("dialog-facts", HTMLElement);
  readonly #download = byId("download", HTMLAnchorElement);

  constructor() {
    byId("dialog-close", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("click", ({ target }) => {
      if (target === this.#dialog) this.#dialog.close(); // beside it
    });
    this.#dialog.addEventListener("close", () => this.#frame.replaceChildren());
  }

  show(capture: CaptureView): void {
    const time = clock(new Date(capture.takenAt));
    say(this.#title, `Picture of ${time}`);
    say(this.#facts, facts(capture));
    Object.assign(this.#download, { href: downloadUrl(capture), download: capture.fileName });
    this.#frame.replaceChildren(shown(capture, time));
    this.#dialog.showModal();
  }
}

function shown(capture: CaptureView, time: string): HTMLElement {
  if (!/^image\/(jpeg|png)$/.test(capture.mimeType)) {
    return make("p", {}, `A browser cannot show ${capture.mimeType}; download it instead.`);
  }
  const image = make("img", { alt: `Picture taken with ${capture.camera}, ${time}` });
  if (capture.widthPx > 0)
    Object.assign(image, { width: capture.widthPx, height: capture.heightPx });
  const explain = (why: string) =>
    image.replaceWith(make("p", {}, sentence(`The picture could not be loaded: ${why}`)));
  load(image, imageUrl(capture), () => void whyNot(imageUrl(capture)).then(explain));
  return image;
}

function facts({ camera, widthPx, heightPx, sizeBytes, exposureMs }: CaptureView): string {
  const size = widthPx > 0 ? `${widthPx} × ${heightPx}` : "";
  const exposure = exposureMs === null ? "" : `${rounded(exposureMs, 3)} ms`;
  return [camera, size, exposure, bytes(sizeBytes)].filter(Boolean).join(" · ");
}
