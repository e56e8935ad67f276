/**
 * A page at the other end of a socket. What it does not take is not piled up: it has `AHEAD` frames
 * to draw at most, so that neither this process nor the network's buffers hold old ones.
 */

import type { WebSocket } from "@fastify/websocket";
import { BEAT_MS, DRAWN, FRAME_HEADER_BYTES, type Message } from "../page/wire.js";

const AHEAD = 2; // one under way while the other is drawn
const SILENT_BEATS = 4; // who has not answered for so long has gone without a word

const GOING_AWAY = 1001;
const FAREWELL_MS = 250; // for a page to answer the end of its socket; some never do

export class Viewer {
  /** Aborts when the page has left, or has to. */
  readonly gone: AbortSignal;
  readonly #socket: WebSocket;
  #undrawn = 0; // frames sent and not yet drawn
  #silent = 0; // beats since the page's last sign of life
  #wake = () => {};

  /** `closing` sends the page away. */
  constructor(socket: WebSocket, closing: AbortSignal) {
    const gone = new AbortController();
    const sendAway = () => {
      gone.abort();
      socket.close(GOING_AWAY);
      setTimeout(() => socket.terminate(), FAREWELL_MS);
    };
    closing.addEventListener("abort", sendAway);
    this.gone = gone.signal;
    this.#socket = socket;
    const beat = setInterval(() => this.#beat(), BEAT_MS);
    socket.on("pong", () => (this.#silent = 0));
    socket.on("message", (data) => {
      this.#silent = 0;
      if (String(data) === DRAWN) this.#undrawn = Math.max(0, this.#undrawn - 1);
      this.#wake();
    });
    socket.on("error", () => socket.terminate());
    socket.on("close", () => {
      clearInterval(beat);
      closing.removeEventListener("abort", sendAway);
      gone.abort();
      this.#wake();
    });
  }

  /** Sends a message. */
  send(message: Message): void {
    if (this.#open) this.#socket.send(JSON.stringify(message));
  }

  /** Sends a frame; done when the page is ready for the next, or gone. */
  async show(jpeg: Uint8Array, ageMs: number, dropped: number): Promise<void> {
    if (!this.#open) return;
    const header = Buffer.alloc(FRAME_HEADER_BYTES);
    header.writeDoubleBE(ageMs, 0);
    header.writeDoubleBE(dropped, 8);
    this.#undrawn++;
    const frame = Buffer.concat([header, jpeg]);
    await new Promise<void>((resolve) => this.#socket.send(frame, () => resolve()));
    while (this.#undrawn >= AHEAD && this.#open) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  get #open(): boolean {
    return this.#socket.readyState === this.#socket.OPEN;
  }

  #beat(): void {
    if (this.#silent++ >= SILENT_BEATS) this.#socket.terminate();
    this.send({ type: "beat" });
    if (this.#open) this.#socket.ping();
  }
}
