"""Viewers in a process of their own, which take frames as cheaply as Python can.

    python -m bench.live_viewers '{"kind": "live", "address": ..., "viewers": 10}'

Says "ready" when every viewer has its first frame. When its standard input ends, prints for each
viewer a list of [received, acquired, sequence], times in nanoseconds since the epoch, as JSON.
`kind`: "live" is camsvc's LiveView, "tcp", "mjpeg" and "viam" are the peers'.
"""

import asyncio
import contextlib
import json
import sys
import time
from typing import Any

import grpc
from camapi.v1 import camera_service_pb2 as api

LIVE_VIEW = "/camapi.v1.CameraService/LiveView"
GET_IMAGES = "/viam.component.camera.v1.CameraService/GetImages"
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own, as another machine has
]
Seen = list[tuple[int, int, int]]


async def live(spec: dict[str, Any], seen: Seen) -> None:
    """View a camera of camsvc; `pause_s` after each frame makes a slow viewer."""
    request = api.LiveViewRequest(camera=spec["camera"]).SerializeToString()
    async with grpc.aio.insecure_channel(spec["address"], options=CHANNEL_OPTIONS) as channel:
        view: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(LIVE_VIEW)
        async for data in view(request):
            received = time.time_ns()
            message = api.LiveViewResponse.FromString(data)
            if message.HasField("frame"):
                frame = message.frame
                seen.append((received, frame.acquisition_time.ToNanoseconds(), frame.sequence))
                await asyncio.sleep(spec.get("pause_s", 0))


async def viam(spec: dict[str, Any], seen: Seen) -> None:
    """Call GetImages in a loop, 30 times a second where the server keeps up."""
    request = b"\x0a\x05bench"  # GetImagesRequest.name
    async with grpc.aio.insecure_channel(spec["address"], options=CHANNEL_OPTIONS) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(GET_IMAGES)
        due = time.monotonic()
        while True:
            await call(request)
            seen.append((time.time_ns(), 0, 0))
            due = max(due + 1 / 30, time.monotonic())
            await asyncio.sleep(due - time.monotonic())


class _Socket(asyncio.BufferedProtocol):
    """Counts frames: of `frame_bytes` each, or where 0 by the boundaries of multipart."""

    BOUNDARY = b"--frame\r\n"

    def __init__(self, seen: Seen, frame_bytes: int) -> None:
        self._seen, self._frame_bytes = seen, frame_bytes
        self._buffer = bytearray(1 << 18)
        self._received, self._tail = 0, b""
        self.ended = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._frame_bytes:
            before, self._received = self._received, self._received + nbytes
            frames = self._received // self._frame_bytes - before // self._frame_bytes
        else:
            data = self._tail + self._buffer[:nbytes]
            frames, self._tail = data.count(self.BOUNDARY), data[1 - len(self.BOUNDARY) :]
        self._seen.extend([(time.time_ns(), 0, 0)] * frames)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def from_socket(spec: dict[str, Any], seen: Seen) -> None:
    """Read a socket: of the bare server, or with an HTTP request in front."""
    host, _, port = spec["address"].rpartition(":")
    transport, protocol = await asyncio.get_running_loop().create_connection(
        lambda: _Socket(seen, spec.get("frame_bytes", 0)), host, int(port)
    )
    if spec["kind"] == "mjpeg":
        transport.write(b"GET /video_feed HTTP/1.1\r\nHost: bench\r\n\r\n")
    try:
        await protocol.ended
    finally:
        transport.abort()


async def main(spec: dict[str, Any]) -> None:
    """View until the standard input ends."""
    view = {"live": live, "viam": viam, "tcp": from_socket, "mjpeg": from_socket}[spec["kind"]]
    seen: list[Seen] = [[] for _ in range(spec["viewers"])]
    tasks = [asyncio.create_task(view(spec, frames)) for frames in seen]
    while not all(seen):
        failed = [task.exception() for task in tasks if task.done()]
        if failed:
            raise SystemExit(f"a viewer failed: {failed[0]}")
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await reader.read()
    ended = sum(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await task
    print(json.dumps({"seen": seen, "ended": ended}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
