/**
 * The HTTP/2 connection, with a watchdog. Whatever comes from the service is a sign of life. When
 * it is silent for a while although an answer is due, it is probed; when that has no answer either,
 * the connection is dropped: all calls on it end, and the next one connects again. Over a new
 * connection it is probed meanwhile, as a router that has forgotten the old one is no silent service.
 *
 * HTTP/2 pings would do that too, but those of connect-node may end the process.
 */

import type { ClientHttp2Stream } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { Http2SessionManager } from "@connectrpc/connect-node";
import type { TlsOptions } from "./options.js";
import { silence } from "./unreachable.js";

// Counted in ticks, not by the clock: a process that was busy or suspended itself does not take the
// service for silent. Noticed after four to five fifths of the time that is allowed.
const TICKS = 10;
const PROBED_AFTER = 4;
const DIALLED_AFTER = 5;
const DROPPED_AFTER = 8;
// A call right after an abort would meet connect-node's half-closed session.
const CALM_MS = 50;
// How much may lie in the transport, of one call and of all. HTTP/2's own 64 KiB would be a third of
// the frames at a round trip of 20 ms; more than this would make those of a slow line old.
const STREAM_WINDOW_BYTES = 256 * 1024;
const SESSION_WINDOW_BYTES = 1024 * 1024;

/** What connect-node needs of a session manager. */
export type Sessions = Pick<
  Http2SessionManager,
  "authority" | "request" | "notifyResponseByteRead"
>;
/** Calls something that the service answers at once. */
type Probe = (sessions: Sessions, timeoutMs: number) => Promise<unknown>;

/** One around connect-node's own. */
export class Connection {
  readonly authority: string;
  #manager: Http2SessionManager;
  readonly #dial: () => Http2SessionManager;
  readonly #silenceMs: number;
  readonly #probe: Probe;
  #timer: NodeJS.Timeout | undefined;
  #calm: Promise<unknown> = Promise.resolve();
  #closed = false;
  #streams = 0;
  #due = false; // an answer, maybe to a call that is over
  #heard = false; // since the last tick
  #silent = 0; // ticks
  #fresh: Http2SessionManager | undefined; // another connection, while this one is in doubt
  #answersAnew = false; // over that

  constructor(url: string, tls: TlsOptions, silenceMs: number, probe: Probe) {
    const settings = { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES };
    this.#dial = () => new Http2SessionManager(url, undefined, { ...tls, settings });
    this.#manager = this.#dial();
    this.authority = this.#manager.authority;
    this.#silenceMs = silenceMs;
    this.#probe = probe;
  }

  async request(...request: Parameters<Http2SessionManager["request"]>) {
    this.#streams++;
    this.#due = true;
    this.#timer ??= setInterval(() => this.#tick(), this.#silenceMs / TICKS).unref();
    try {
      await this.#calm;
      if (this.#closed) throw new ConnectError("the client is closed", Code.FailedPrecondition);
      const stream = await this.#manager.request(...request);
      stream.session?.setLocalWindowSize(SESSION_WINDOW_BYTES);
      return stream.once("response", () => this.#hear()).once("close", () => this.#streams--);
    } catch (error) {
      this.#streams--;
      this.#silent = 0; // a connection that is refused is not silence
      throw error;
    }
  }

  notifyResponseByteRead(stream: ClientHttp2Stream): void {
    this.#hear();
    this.#manager.notifyResponseByteRead(stream);
  }

  close(): void {
    this.#closed = true;
    this.#manager.abort();
    this.#fresh?.abort();
  }

  #hear(): void {
    this.#heard = true;
    this.#due = false;
  }

  #tick(): void {
    this.#silent = this.#heard ? 0 : this.#silent + 1;
    this.#heard = false;
    if (this.#silent === 0) this.#hangUp();
    if (this.#closed || (this.#streams === 0 && !this.#due)) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      this.#silent = 0;
      this.#hangUp();
    } else if (this.#silent === PROBED_AFTER) {
      this.#probe(this, this.#silenceMs).catch(() => {});
    } else if (this.#silent === DIALLED_AFTER) {
      void this.#probeAnew();
    } else if (this.#silent === DROPPED_AFTER) {
      this.#silent = 0;
      this.#due = false;
      this.#calm = sleep(CALM_MS);
      const dead = this.#manager;
      const reason = silence(this.#silenceMs, this.#answersAnew);
      if (this.#fresh && this.#answersAnew) {
        this.#manager = this.#fresh;
        this.#fresh = undefined;
      }
      dead.abort(reason);
      this.#hangUp();
    }
  }

  async #probeAnew(): Promise<void> {
    const fresh = this.#dial();
    this.#fresh = fresh;
    const answers = await this.#probe(fresh, this.#silenceMs).then(
      () => true,
      (error) => ConnectError.from(error).code !== Code.DeadlineExceeded, // one is an answer, too
    );
    this.#answersAnew = answers && this.#fresh === fresh;
  }

  #hangUp(): void {
    this.#fresh?.abort();
    this.#fresh = undefined;
    this.#answersAnew = false;
  }
}
