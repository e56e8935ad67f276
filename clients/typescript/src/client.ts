import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Connection } from "./connection.js";
import { CameraService } from "./gen/camapi/v1/camera_service_pb.js";
import { namingTheLost } from "./lost.js";
import { retrying } from "./retry.js";

/**
 * The calls of the service, each with `{ timeoutMs, signal }` beside its request, and `close()`.
 *
 * Those with one answer are repeated while the camera is busy or unavailable, or the service cannot
 * be reached, until their deadline; but for `deleteCapture` and `resetCamera`. A capture is given a
 * `requestId` for that, so that repeating it never takes a second picture.
 *
 * @example
 * const { cameras } = await client.listCameras({});
 */
export type CameraClient = Client<typeof CameraService> & {
  /** Closes the connection. Calls under way fail, and so do later ones. */
  close(): void;
};

/**
 * What a client may be told.
 *
 * @example
 * const options: ClientOptions = { tls: true, token: () => readFile("token", "utf8") };
 */
export interface ClientOptions {
  /** Encryption: `true`, or whom to trust and what to show. Default: none. */
  tls?: boolean | TlsOptions | undefined;
  /** Sent with each call as `authorization: Bearer ...`; a function is asked each time. */
  token?: string | (() => string | Promise<string>) | undefined;
  /** The largest message taken, in bytes. Default 64 MiB; `maxInlineBytes` of captures follows it. */
  readMaxBytes?: number | undefined;
  /** For how long a failed call without `timeoutMs` is repeated, in milliseconds. Default 30,000. */
  patienceMs?: number | undefined;
}

/**
 * Certificates and keys, in PEM.
 *
 * @example
 * const tls: TlsOptions = { ca: await readFile("ca.pem", "utf8") };
 */
export interface TlsOptions {
  /** The authorities to trust. Default: those of Node. */
  ca?: string | undefined;
  /** The client's own certificate; it goes with `key`. */
  cert?: string | undefined;
  key?: string | undefined;
  /** The name on the service's certificate, where it is not the address's. */
  servername?: string | undefined;
}

/**
 * A client of the service at an address, "host:port". It connects with its first call and, after
 * the connection was lost, with the next. It keeps no process from ending.
 *
 * @example
 * const client = createCameraClient("127.0.0.1:50051");
 * const { imageData } = await client.capture({ camera: "sim0" }, { timeoutMs: 30_000 });
 */
export function createCameraClient(address: string, options: ClientOptions = {}): CameraClient {
  const { tls, token, readMaxBytes = 64 * 2 ** 20, patienceMs = 30_000 } = options;
  if (!/^([\w.-]+|\[[\da-f:.]+\]):\d{1,5}$/i.test(address)) {
    throw new TypeError(`address "${address}" is not host:port, such as "127.0.0.1:50051"`);
  }
  const baseUrl = `${tls ? "https" : "http"}://${address}`;
  const trust = typeof tls === "object" ? tls : {};
  const sessionManager = new Connection(baseUrl, trust, () => bare.listCameras({}));
  const bare = calls(namingTheLost(address), bearing(token));
  const client = calls(retrying(patienceMs, readMaxBytes), namingTheLost(address), bearing(token));
  return Object.assign(client, { close: () => sessionManager.close() });

  function calls(...interceptors: Interceptor[]): Client<typeof CameraService> {
    const transport = { baseUrl, sessionManager, readMaxBytes, interceptors };
    return createClient(CameraService, createGrpcTransport(transport));
  }
}

function bearing(token: ClientOptions["token"]): Interceptor {
  return (next) => async (request) => {
    const value = typeof token === "function" ? await token() : token;
    if (value !== undefined) request.header.set("authorization", `Bearer ${value}`);
    return next(request);
  };
}
