/** What is shown, in words. */

import type { Live, StateView } from "./wire.js";

export interface Caption {
  /** In a few words. */
  title: string;
  /** What goes with it. */
  detail: string;
  tone: "good" | "busy" | "bad";
}

/** "4 s", "3 min 5 s", "2 h 5 min". */
export function span(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** The time of day; of another day, the date too. */
export function clock(time: Date): string {
  const today = time.toDateString() === new Date().toDateString();
  return today ? time.toLocaleTimeString() : time.toLocaleString();
}

/** "1.4 MB". */
export function bytes(count: number): string {
  if (count < 1e6) return `${Math.ceil(count / 1e3)} kB`;
  return `${(count / 1e6).toFixed(1)} MB`;
}

/** With a capital at the beginning and a full stop at the end. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  if (trimmed === "") return "";
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

const TITLES: Record<Live, string> = {
  starting: "Starting the camera",
  live: "Live",
  paused: "Paused",
  recovering: "Recovering",
  offline: "Offline",
  unreachable: "Camera service unreachable",
  none: "No live view",
};

const TONES: Record<Live, Caption["tone"]> = {
  starting: "busy",
  live: "good",
  paused: "busy",
  recovering: "busy",
  offline: "bad",
  unreachable: "bad",
  none: "bad",
};

/** How the camera is; `since` is when that began, by the browser's clock. */
export function caption({ live, reason }: StateView, since: Date): Caption {
  const tone = TONES[live];
  const title = TITLES[live];
  switch (live) {
    case "paused":
      return { tone, title: reason === "" ? title : `${title}: ${reason}`, detail: "" };
    case "recovering":
    case "offline":
      return { tone, title: `${title} since ${clock(since)}`, detail: sentence(reason) };
    case "unreachable": {
      const detail = "It is tried again all the time; the picture comes back by itself.";
      return { tone, title: `${title} since ${clock(since)}`, detail };
    }
    case "none":
      return { tone, title, detail: sentence(reason) };
    default:
      return { tone, title, detail: "" };
  }
}

/** There is no connection to the backend. */
export function disconnected(since: Date): Caption {
  const detail = "It is tried again all the time; you need not reload the page.";
  return { tone: "bad", title: `No connection since ${clock(since)}`, detail };
}

/** The live view should run, and does not. */
export function stalled(since: Date): Caption {
  return { tone: "bad", title: `No new picture since ${clock(since)}`, detail: "" };
}
