/** The page: one camera, from the first connection on. */

import { liveUrl, resetCamera } from "./api.js";
import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { byId, make, say } from "./dom.js";
import { Gallery } from "./gallery.js";
import { choose, chosen, offer } from "./picker.js";
import { Screen } from "./screen.js";
import { Shutter } from "./shutter.js";
import type { Message, StateView } from "./wire.js";
import { type Caption, caption, disconnected, sentence, stalled } from "./words.js";

const TICK_MS = 250;
const ASK_AGAIN_MS = 2000;
const PROMPT_MS = 300; // the age of a picture whose camera is at work
const SAME_MS = 2000; // times that differ by less are one
const STALE_MS = 2500; // older than that, a picture that should be live is called old

function show(camera: string): void {
  let state: StateView | undefined;
  let since = new Date(); // of the state
  let changedAt = performance.now(); // it, or the connection
  let downSince: Date | undefined; // while there is no connection, once there was a try
  document.title = `${camera} · Cameras`;
  say(byId("camera", HTMLElement), camera);

  const screen = new Screen(camera);
  const gallery = new Gallery(camera);
  const shutter = new Shutter(camera, (taken) => gallery.add(taken));
  const isLive = () => state?.live === "live" && downSince === undefined;
  const hasStood = () => performance.now() - changedAt > STALE_MS;
  const isAtWork = () => isLive() && (screen.ageMs ?? STALE_MS) < PROMPT_MS;
  const controls = new Controls(camera, isAtWork);

  new Connection(() => liveUrl(camera, screen.widthPx), {
    onUp: () => {
      downSince = undefined;
      changedAt = performance.now();
    },
    onDown: () => (downSince ??= new Date()),
    onMessage: heed,
    onFrame: (frame) => screen.draw(frame),
  });
  setInterval(render, TICK_MS);

  const reset = byId("reset", HTMLButtonElement);
  reset.addEventListener("click", async () => {
    reset.disabled = true;
    // The state shows how it went.
    await resetCamera(camera).catch(() => {});
    reset.disabled = false;
  });

  function heed(message: Message): void {
    if (message.type === "state") {
      const before = state?.live;
      state = message.state;
      const began = new Date(Date.now() - state.sinceMs);
      const isSame = before === state.live && Math.abs(+began - +since) < SAME_MS;
      if (!isSame) since = began;
      if (before !== state.live) changedAt = performance.now();
      shutter.heed(state);
      if (state.live !== "live") screen.restart();
      else if (before !== "live") void controls.refresh();
    }
    if (message.type === "step") {
      shutter.follow(message.step);
      if (message.step.capture) gallery.add(message.step.capture);
    }
    if (message.type === "ready") {
      void gallery.refresh();
      void controls.refresh();
      void offer().catch(() => {});
    }
    render();
  }

  function render(): void {
    const age = screen.ageMs;
    const isStale = age !== undefined && age > STALE_MS;
    screen.mark(isLive() && !isStale, state?.lastFrameAgeMs ?? null);
    shutter.render();
    if (downSince) showCaption(disconnected(downSince));
    else if (isLive() && isStale && hasStood()) showCaption(stalled(new Date(Date.now() - age)));
    else if (state) showCaption(caption(state, since), state.warnings);
    reset.hidden = downSince !== undefined || state?.live !== "offline";
  }
}

const box = byId("state", HTMLElement);
const [title, detail] = [byId("state-title", HTMLElement), byId("state-detail", HTMLElement)];
const warnings = byId("warnings", HTMLElement);

function showCaption({ tone, ...words }: Caption, warned: string[] = []): void {
  box.dataset["tone"] = tone;
  say(title, words.title);
  say(detail, words.detail);
  const known = Array.from(warnings.children, (item) => item.textContent);
  if (known.join() === warned.join()) return;
  warnings.replaceChildren(...warned.map((text) => make("li", {}, text)));
}

/** Shows the camera of the address; without one, the first there is. */
async function start(): Promise<void> {
  const camera = chosen();
  if (camera !== undefined) {
    void offer().catch(() => {}); // again when the service is ready
    return show(camera);
  }
  try {
    const [first] = await offer();
    if (first === undefined) {
      showCaption({
        tone: "bad",
        title: "No cameras",
        detail: "The service has none in its settings.",
      });
      return;
    }
    choose(first.camera);
    show(first.camera);
  } catch (error) {
    const reason = sentence((error as Error).message);
    showCaption({
      tone: "bad",
      title: "No cameras yet",
      detail: `${reason} It is tried again all the time.`,
    });
    setTimeout(() => void start(), ASK_AGAIN_MS);
  }
}

void start();
