/** A service that is not one: it answers as a test tells it to. */

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createSecureServer, createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ErrorInfoSchema, RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.js";
import { CameraService, type Reason } from "../../src/index.js";

export type Calls = Partial<ServiceImpl<typeof CameraService>>;

/** Serves `calls`; returns the port. */
export async function fake(t: TestContext, calls: Calls, tls?: { cert: string; key: string }) {
  const adapter = connectNodeAdapter({ routes: (router) => router.service(CameraService, calls) });
  const server = tls ? createSecureServer(tls, adapter) : createServer(adapter);
  const sessions = new Set<{ destroy(): void }>();
  server.on("session", (session) => sessions.add(session));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** An error as the service makes them. */
export function failure(code: Code, reason: Reason, waitMs?: number, metadata = {}): ConnectError {
  const error = new ConnectError(reason, code);
  const nanos = ((waitMs ?? 0) % 1000) * 1e6;
  const retryDelay = { seconds: BigInt(Math.floor((waitMs ?? 0) / 1000)), nanos };
  error.details.push({ desc: ErrorInfoSchema, value: { reason, domain: "camsvc", metadata } });
  if (waitMs !== undefined) error.details.push({ desc: RetryInfoSchema, value: { retryDelay } });
  return error;
}

/** A certificate for 127.0.0.1, made by openssl; undefined where there is none. */
export function certificate(): { cert: string; key: string } | undefined {
  const folder = mkdtempSync(join(tmpdir(), "camsvc-tls-"));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const name = ["-subj", "/CN=camera", "-addext", "subjectAltName=IP:127.0.0.1"];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  try {
    execFileSync("openssl", ["req", ...kind, "-keyout", key, "-out", cert, ...name], {
      stdio: "ignore",
    });
    return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
  } catch {
    return undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
