/** The socket to the backend. Lost, it is opened again, for ever; silent, it counts as lost. */

import { BEAT_MS, DRAWN, type Message } from "./wire.js";

const FIRST_WAIT_MS = 250;
const MOST_WAIT_MS = 2000;
const SILENCE_MS = 3 * BEAT_MS;

export interface Listener {
  /** Something has been heard on a new socket. */
  onUp(): void;
  /** It is lost, or could not be opened. */
  onDown(): void;
  onMessage(message: Message): void;
  /** A frame; done when it has been drawn. */
  onFrame(frame: ArrayBuffer): Promise<void>;
}

export class Connection {
  #waitMs = FIRST_WAIT_MS;
  #silence: number | undefined;
  #retry: number | undefined;
  #socket: WebSocket | undefined;

  constructor(
    readonly url: () => string,
    readonly listener: Listener,
  ) {
    this.#open();
    // The network, or the person, is back: no need to wait.
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => this.#hurry());
  }

  #hurry(): void {
    if (this.#retry !== undefined && !document.hidden) this.#open();
  }

  #open(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    const socket = new WebSocket(this.url());
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#listen(socket);
    socket.onclose = () => this.#lost(socket);
    socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => {
      if (socket !== this.#socket) return;
      this.#listen(socket);
      if (this.#waitMs !== 0) this.listener.onUp();
      this.#waitMs = 0;
      if (typeof data === "string") this.listener.onMessage(JSON.parse(data) as Message);
      else void this.listener.onFrame(data).finally(() => this.#drawn(socket));
    };
  }

  #drawn(socket: WebSocket): void {
    if (socket.readyState === WebSocket.OPEN) socket.send(DRAWN);
  }

  /** Waits for the next word. A network that just went away closes nothing. */
  #listen(socket: WebSocket): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lost(socket), SILENCE_MS);
  }

  #lost(socket: WebSocket): void {
    if (socket !== this.#socket) return;
    this.#socket = undefined;
    clearTimeout(this.#silence);
    socket.close();
    this.listener.onDown();
    this.#waitMs = Math.min(MOST_WAIT_MS, 2 * this.#waitMs || FIRST_WAIT_MS);
    this.#retry = setTimeout(() => this.#open(), this.#waitMs);
  }
}
