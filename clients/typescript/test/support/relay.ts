/** A TCP relay that cuts connections when told to. */

import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { TestContext } from "node:test";

export class Relay {
  /** Bytes that came from the service. */
  bytes = 0;
  /** Connections that clients opened. */
  connections = 0;
  /** The number of bytes at which the next cut comes. */
  cutAt = Number.POSITIVE_INFINITY;
  /** After how many bytes there is another. */
  cutEvery = Number.POSITIVE_INFINITY;
  /** While set, what comes from either side is swallowed, as by a dead network. */
  silent = false;
  readonly #sockets = new Set<Socket>();
  #dead = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly target: number,
  ) {}

  static async start(t: TestContext, target: number): Promise<Relay> {
    const server = createServer();
    const relay = new Relay(server, target);
    server.on("connection", (socket) => relay.#join(socket));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => {
      server.close();
      for (const socket of relay.#sockets) socket.destroy();
    });
    return relay;
  }

  get port(): number {
    const address = this.server.address();
    return typeof address === "object" && address ? address.port : 0;
  }

  /** Cuts every connection now. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Swallows from now on what the connections that there are carry; new ones work. */
  forget(): void {
    this.#dead = new Set(this.#sockets);
  }

  #join(client: Socket): void {
    this.connections++;
    const service = connect(this.target, "127.0.0.1");
    for (const [from, to] of [
      [client, service],
      [service, client],
    ] as const) {
      this.#sockets.add(from);
      from.on("error", () => {});
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.on("data", (data) => {
        if (this.silent || this.#dead.has(from)) return;
        if (from === service) this.bytes += data.length;
        if (this.bytes >= this.cutAt) {
          this.cutAt = this.bytes + this.cutEvery;
          client.destroy();
        } else if (!to.write(data)) {
          from.pause();
          to.once("drain", () => from.resume());
        }
      });
    }
  }
}
