/** A real service in a process of its own. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { type CameraClient, type ClientOptions, createCameraClient } from "../../src/index.js";

const ROOT = fileURLToPath(new URL("../../../../../", import.meta.url));
const COMMAND = process.env["CAMSVC"] ?? join(ROOT, ".venv/bin/camsvc");
const START_MS = 20_000;
const HOLD = `
import socket, sys
held = socket.socket()
held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
held.bind(("127.0.0.1", 0))
print(held.getsockname()[1], flush=True)
sys.stdin.read()
`;

/** Settings of a simulated camera, small and quick unless `keys` say otherwise. */
export function camera(id: string, keys: Record<string, unknown> = {}, ...faults: Fault[]): string {
  const size = { width_px: 320, height_px: 240, capture_duration_s: 0.05 };
  const simulated = keys["driver"] === undefined ? { driver: "simulated", ...size } : {};
  const tables = [["[[cameras]]", { id, ...simulated, ...keys }] as const];
  const lines = tables.flatMap(([head, table]) => [head, toml(table)]);
  return [...lines, ...faults.flatMap((fault) => ["[[cameras.faults]]", toml(fault)])].join("\n");
}

/** Settings of a camera of our own, whose pictures have the size that is asked for. */
export function large(id: string, options: Record<string, number>): string {
  const env = { PYTHONPATH: fileURLToPath(new URL("../../../test/support", import.meta.url)) };
  return camera(id, { driver: "large_camera:LargeCamera", env, options });
}

/** What goes wrong, on which call, how often. */
export type Fault = {
  on: string;
  kind: string;
  at?: number;
  times?: number;
  seconds?: number;
};

function toml(table: Record<string, unknown>): string {
  const value = (v: unknown): string =>
    typeof v === "object" && v !== null
      ? `{ ${Object.entries(v).map(([key, inner]) => `${key} = ${value(inner)}`)} }`
      : JSON.stringify(v);
  const lines = Object.entries(table).map(([key, v]) => `${key} = ${value(v)}`);
  return lines.join("\n");
}

export class Service {
  #process: ChildProcess | undefined;
  #log = "";

  private constructor(
    private readonly folder: string,
    readonly port: number,
  ) {}

  /** Starts one for a test, at whose end it is gone. */
  static async start(t: TestContext, ...cameras: string[]): Promise<Service> {
    const folder = await mkdtemp(join(tmpdir(), "camsvc-client-"));
    const service = new Service(folder, await heldPort(t));
    const head = '[service]\nmetrics_listen = ""\nlog_format = "json"\n';
    await writeFile(join(folder, "camsvc.toml"), `${head}${cameras.join("\n")}\n`);
    t.after(async () => {
      await service.kill();
      await rm(folder, { recursive: true });
    });
    await service.start();
    return service;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** A client, closed at the end of the test. */
  client(t: TestContext, options?: ClientOptions, port = this.port): CameraClient {
    const client = createCameraClient(`127.0.0.1:${port}`, options);
    t.after(() => client.close());
    return client;
  }

  /** Starts it, or starts it again: at the same place, with the same data. */
  async start(): Promise<void> {
    const config = ["--config", join(this.folder, "camsvc.toml")];
    const data = ["--data-dir", join(this.folder, "data")];
    const child = spawn(COMMAND, ["serve", ...config, ...data, "--listen", this.address], {
      stdio: ["ignore", "inherit", "pipe"],
    });
    this.#process = child;
    this.#log = "";
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`${why}\n${this.#log}`));
      const timer = setTimeout(() => fail("the service did not start"), START_MS);
      child.once("error", (error) => fail(`${COMMAND}: ${error.message}`));
      child.once("exit", (code) => fail(`the service ended with ${code}`));
      child.stderr?.on("data", (text) => {
        this.#log += text;
        if (!this.#log.includes('"serving"')) return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  signal(name: "SIGSTOP" | "SIGCONT" | "SIGTERM"): void {
    this.#process?.kill(name);
  }

  async kill(name: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(name);
    await gone;
  }
}

/**
 * A port that the kernel gives to nobody else until the test ends: held by a socket that does not
 * listen. Node has none, so a little process of the service's Python holds it.
 */
async function heldPort(t: TestContext): Promise<number> {
  const holder = spawn(join(dirname(COMMAND), "python"), ["-S", "-c", HOLD], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => holder.kill());
  const [port] = await once(holder.stdout, "data");
  return Number(port);
}
