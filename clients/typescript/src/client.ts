import {
  type CallOptions,
  type Client,
  Code,
  ConnectError,
  createClient,
  type Interceptor,
} from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { callOptions, checkFields } from "./checks.js";
import { Connection, type Sessions } from "./connection.js";
import { CameraService } from "./gen/camapi/v1/camera_service_pb.js";
import { type ClientOptions, checked } from "./options.js";
import { retrying } from "./retry.js";
import { namingUnreachable } from "./unreachable.js";

/**
 * The calls of the service, each with its request and `{ timeoutMs, signal }`, and `close()`.
 *
 * Those with one answer are made again while the camera is busy or away, or the service cannot be
 * reached: see `ClientOptions` for how long. A capture is given a `requestId` for that, so that
 * making it again never takes a second picture. `resetCamera` is not repeated, and `deleteCapture`
 * not when its answer was lost.
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
 * Throws an error for an address or option that is not allowed, and what OpenSSL says of a
 * certificate that it cannot read.
 *
 * @example
 * const client = createCameraClient("127.0.0.1:50051");
 * const { imageData } = await client.capture({ camera: "sim0" }, { timeoutMs: 30_000 });
 */
export function createCameraClient(address: string, options: ClientOptions = {}): CameraClient {
  const { baseUrl, tls, token, readMaxBytes, silenceMs, ...patience } = checked(address, options);
  const interceptors = [namingUnreachable(address), bearing(token)];
  const over = (sessionManager: Sessions) =>
    createGrpcTransport({ baseUrl, sessionManager, readMaxBytes, interceptors });
  const probe = (sessions: Sessions, timeoutMs: number) =>
    createClient(CameraService, over(sessions)).listCameras({}, { timeoutMs });
  const connection = new Connection(baseUrl, tls, silenceMs, probe);
  const client = createClient(CameraService, retrying(over(connection), patience, readMaxBytes));
  return Object.assign(checking(client), { close: () => connection.close() });
}

type Call = (request: object, options?: CallOptions) => unknown;

/** The same calls, which look at what they are given. */
function checking(client: Client<typeof CameraService>): Client<typeof CameraService> {
  const calls = client as unknown as Record<string, Call>;
  const checked = CameraService.methods.map(({ localName, methodKind, input }) => {
    const call = calls[localName] as Call;
    const check: Call = (request, options = {}) => {
      checkFields(input, request);
      return call(request, callOptions(options));
    };
    const unary: Call = async (...given) => check(...given);
    return [localName, methodKind === "unary" ? unary : check];
  });
  return Object.fromEntries(checked);
}

function bearing(token: ClientOptions["token"]): Interceptor {
  return (next) => async (request) => {
    const value = (typeof token === "function" ? await token() : token)?.trim();
    if (value !== undefined) {
      // Without its value, which Node's own error would show.
      if (!/^[!-~]+$/.test(value)) {
        throw new ConnectError("the token is not one word of ASCII", Code.InvalidArgument);
      }
      request.header.set("authorization", `Bearer ${value}`);
    }
    return next(request);
  };
}
