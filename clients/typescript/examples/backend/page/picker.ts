/** The choice of a camera: links, so that each has an address, a history and its own tab. */

import { listCameras } from "./api.js";
import { byId, make } from "./dom.js";
import type { CameraView } from "./wire.js";

const nav = byId("cameras", HTMLElement);

/** The camera the address names. Undefined: none. */
export function chosen(): string | undefined {
  return new URL(location.href).searchParams.get("camera") ?? undefined;
}

/** Lists the cameras, and offers them. */
export async function offer(): Promise<CameraView[]> {
  const cameras = await listCameras();
  const known = Array.from(nav.children, (child) => child.textContent);
  // Links that stay are not touched: they keep the focus.
  if (known.join() !== cameras.map(({ camera }) => camera).join()) {
    nav.replaceChildren(...cameras.map(link));
  }
  mark();
  return cameras;
}

/** Makes a camera the one of the address, without a new page. */
export function choose(camera: string): void {
  history.replaceState(null, "", address(camera));
  mark();
}

function mark(): void {
  for (const link of nav.children) {
    if (link.textContent === chosen()) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function link({ camera, driver, model }: CameraView): HTMLAnchorElement {
  const title = model || driver;
  return make("a", { href: address(camera), title }, camera);
}

function address(camera: string): string {
  return `?camera=${encodeURIComponent(camera)}`;
}
