/** The backend's HTTP API. */

import type {
  CameraView,
  CaptureView,
  ControlValueView,
  ControlView,
  ProblemView,
} from "./wire.js";

/** An answer that is an error. */
export class Problem extends Error {
  constructor(readonly view: ProblemView) {
    super(view.message);
  }

  /** Whether somebody else's still is in the way: that passes for certain. */
  get isBusy(): boolean {
    return ["CAMERA_BUSY", "QUEUE_FULL"].includes(this.view.reason);
  }
}

const GONE: ProblemView = {
  reason: "BACKEND_UNREACHABLE",
  message: "the server of this page cannot be reached",
  waitMs: 1000,
  holder: null,
};

async function call<T>(path: string, init: RequestInit = {}, body?: unknown): Promise<T> {
  const json = { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  const request = { ...init, ...(body === undefined ? {} : json) };
  let response: Response;
  try {
    response = await fetch(path, request);
  } catch {
    init.signal?.throwIfAborted();
    throw new Problem(GONE);
  }
  const type = response.headers.get("content-type") ?? "";
  if (!type.startsWith("application/json")) throw new Problem(GONE); // a proxy's answer
  const answer: unknown = await response.json();
  if (!response.ok) throw new Problem(answer as ProblemView);
  return answer as T;
}

/** Why an image does not load, in words. It is asked for once more. */
export async function whyNot(image: string): Promise<string> {
  const response = await fetch(image).catch(() => undefined);
  const type = response?.headers.get("content-type");
  if (response?.ok) return `the browser cannot show this ${type}`;
  if (!response || !type?.startsWith("application/json")) return GONE.message;
  const { reason, message } = (await response.json()) as ProblemView;
  return reason === "CAPTURE_NOT_FOUND" ? "it has been deleted" : message;
}

const of = (camera: string) => `/api/cameras/${encodeURIComponent(camera)}`;

export const listCameras = () => call<CameraView[]>("/api/cameras");

export const listControls = (camera: string) => call<ControlView[]>(`${of(camera)}/controls`);

export const setControl = (camera: string, name: string, value: ControlValueView) =>
  call<ControlView[]>(`${of(camera)}/controls`, { method: "PATCH" }, { [name]: value });

export const listCaptures = (camera: string, limit: number) =>
  call<CaptureView[]>(`${of(camera)}/captures?limit=${limit}`);

/** Takes a still. Asked again with the same id, it is the same still. Aborted, it leaves the line. */
export const capture = (camera: string, requestId: string, signal: AbortSignal) =>
  call<CaptureView>(`${of(camera)}/captures`, { method: "POST", signal }, { requestId });

export const resetCamera = (camera: string) =>
  call<CameraView>(`${of(camera)}/reset`, { method: "POST" });

export const imageUrl = ({ captureId }: CaptureView) => `/api/captures/${captureId}/image`;
export const downloadUrl = (capture: CaptureView) => `${imageUrl(capture)}?download`;
export const thumbnailUrl = ({ captureId }: CaptureView) => `/api/captures/${captureId}/thumbnail`;

export function liveUrl(camera: string, widthPx: number): string {
  const url = new URL(`${of(camera)}/live?width=${Math.ceil(widthPx)}`, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}
