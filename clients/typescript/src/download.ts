import { createHash } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import { known } from "./checks.js";
import type { CameraClient } from "./client.js";
import type { DownloadImageRequest_Variant } from "./gen/camapi/v1/camera_service_pb.js";
import { checkStreamOptions, resumed, type StreamOptions, stoppable } from "./resume.js";

// The size of messages: smaller where the line is cut, as they come whole or not at all.
const MOST_CHUNK_BYTES = 1024 * 1024;
const LEAST_CHUNK_BYTES = 16 * 1024;

/**
 * Which picture: of which capture, whether its thumbnail, and which one of several files.
 *
 * @example
 * const wanted: DownloadInit = { captureId, variant: DownloadImageRequest_Variant.THUMBNAIL };
 */
export interface DownloadInit {
  captureId: string;
  variant?: DownloadImageRequest_Variant | undefined;
  part?: number | undefined;
}

/**
 * A picture: its media type, the size and the SHA-256 (hexadecimal) of the file, the bytes.
 *
 * @example
 * const { data, mimeType }: DownloadedImage = await downloadImage(client, { captureId });
 */
export type DownloadedImage = {
  mimeType: string;
  sizeBytes: number;
  sha256: string;
  data: Uint8Array;
};

/**
 * Fetches a picture. After an interruption it resumes where it was, for up to `reconnectMs` without progress. A
 * file that is not what the service promised (SHA-256) is an error, `Code.DataLoss`. The signal ends it,
 * with its reason as the error.
 *
 * @example
 * const { data, mimeType } = await downloadImage(client, { captureId });
 */
export async function downloadImage(
  client: Pick<CameraClient, "downloadImage">,
  request: DownloadInit,
  options: StreamOptions = {},
): Promise<DownloadedImage> {
  let whole: DownloadedImage | undefined;
  for await (const { offset, ...piece } of downloadChunks(client, request, options)) {
    whole ??= { ...piece, data: new Uint8Array(piece.sizeBytes) };
    whole.data.set(piece.data, offset);
  }
  return whole as DownloadedImage; // at least one piece came, or there was an error
}

/**
 * The same piece by piece, at the pace of the loop, for pictures that need not lie in memory. Only
 * when the loop has ended without an error, the file was whole and right.
 *
 * @example
 * for await (const { data, offset } of downloadChunks(client, { captureId }))
 *   await file.write(data, 0, data.length, offset);
 */
export function downloadChunks(
  client: Pick<CameraClient, "downloadImage">,
  request: DownloadInit,
  options: StreamOptions = {},
): AsyncGenerator<DownloadedImage & { offset: number }, void> {
  known("downloads", request, ["captureId", "variant", "part"]);
  checkStreamOptions(options);
  const { captureId, variant = 0, part = 0 } = request;
  return stoppable(async function* (signal) {
    const hash = createHash("sha256");
    let file: Omit<DownloadedImage, "data"> | undefined;
    let [offset, begun] = [0, false];
    let maxChunkBytes: number | undefined;
    const open = (began: () => void) => {
      const rest = { captureId, variant, part, readOffset: BigInt(offset) };
      const wanted = maxChunkBytes === undefined ? rest : { ...rest, maxChunkBytes };
      begun = false;
      const onHeader = () => {
        begun = true;
        began();
      };
      return client.downloadImage(wanted, { signal, onHeader });
    };
    for await (const item of resumed(open, signal, "DownloadImage", options, false)) {
      if (item instanceof ConnectError) {
        const smaller = (maxChunkBytes ?? MOST_CHUNK_BYTES) / 4;
        if (begun) maxChunkBytes = Math.max(LEAST_CHUNK_BYTES, smaller);
        continue;
      }
      const { data, sizeBytes, sha256 = "", mimeType = "" } = item;
      file ??= { mimeType, sizeBytes: Number(sizeBytes), sha256 };
      hash.update(data);
      const end = offset + data.length;
      const complete = end === file.sizeBytes;
      if (end > file.sizeBytes || (complete && hash.digest("hex") !== file.sha256)) {
        throw new ConnectError(`capture ${captureId}: not the promised bytes`, Code.DataLoss);
      }
      yield { ...file, data, offset };
      if (complete) return;
      offset = end;
    }
    signal.throwIfAborted();
  }, options.signal);
}
