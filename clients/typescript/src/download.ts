import { createHash } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import type { CameraClient } from "./client.js";
import type { DownloadImageRequest_Variant } from "./gen/camapi/v1/camera_service_pb.js";
import { resumed, type StreamOptions, stoppable } from "./resume.js";

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
  { captureId, variant = 0, part = 0 }: DownloadInit,
  options: StreamOptions = {},
): AsyncGenerator<DownloadedImage & { offset: number }, void> {
  return stoppable(async function* (signal) {
    const hash = createHash("sha256");
    let file: Omit<DownloadedImage, "data"> | undefined;
    let offset = 0;
    const rest = () => ({ captureId, variant, part, readOffset: BigInt(offset) });
    const open = () => client.downloadImage(rest(), { signal });
    const { reconnectMs } = options;
    for await (const item of resumed(open, signal, { reconnectMs, endless: false })) {
      if (item instanceof ConnectError) continue;
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
