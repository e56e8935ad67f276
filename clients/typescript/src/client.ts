import {
  type Client,
  Code,
  ConnectError,
  createClient,
  type Interceptor,
} from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Connection } from "./connection.js";
import { CameraService } from "./gen/camapi/v1/camera_service_pb.js";
import { namingTheLost } from "./unreachable.js";
import { type ClientOptions, checked } from "./options.js";
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
 * A client of the service at an address, "host:port". It connects with its first call and, after
 * the connection was lost, with the next. It keeps no process from ending.
 *
 * Throws a TypeError or RangeError where the address or an option cannot be, and what OpenSSL says
 * of a certificate that it cannot read.
 *
 * @example
 * const client = createCameraClient("127.0.0.1:50051");
 * const { imageData } = await client.capture({ camera: "sim0" }, { timeoutMs: 30_000 });
 */
export function createCameraClient(address: string, options: ClientOptions = {}): CameraClient {
  const { baseUrl, tls, token, readMaxBytes, patienceMs } = checked(address, options);
  const sessionManager = new Connection(baseUrl, tls, () => bare.listCameras({}));
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
    const value = (typeof token === "function" ? await token() : token)?.trim();
    if (value !== undefined) {
      // Without its value, which Node's own error would tell.
      if (!/^[!-~]+$/.test(value)) {
        throw new ConnectError("the token is not one word of ASCII", Code.InvalidArgument);
      }
      request.header.set("authorization", `Bearer ${value}`);
    }
    return next(request);
  };
}
