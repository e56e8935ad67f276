"""The least that a camera server on python-gphoto2 can do, in one process.

    python bench/peers/bare_gphoto2.py IOLIBS PORT FPS FOLDER

Prints its port. It answers to the service's own methods, so that the same clients can call it. A
still is fetched, kept as the service keeps it (file and folder synced, a row committed) and sent.
Nothing is checked, told or mended.
"""

import asyncio
import hashlib
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gphoto2 as gp
import grpc
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api


def connect(port: str) -> Any:
    """Open the camera at a port."""
    ports = gp.PortInfoList()
    ports.load()
    camera = gp.Camera()
    camera.set_port_info(ports.get_info(ports.lookup_path(port)))
    camera.init()
    return camera


class Bare:
    """One camera, used from one thread."""

    def __init__(self, port: str, fps: float, folder: Path) -> None:
        self._port, self._fps, self._folder = port, fps, folder
        self._camera = connect(port)
        self._thread = ThreadPoolExecutor(1)
        self._count = 0
        self._newest = b""
        self._db: sqlite3.Connection | None = None
        self._tick: asyncio.Future[None] | None = None

    async def capture(self, request: bytes, context: object) -> bytes:
        """Take a still."""
        return await self._run(self._take)

    async def reset(self, request: bytes, context: object) -> bytes:
        """Connect anew, as the virtual camera's card is full after 26 pictures."""
        await self._run(self._connect)
        return b""

    async def live_view(self, request: bytes, context: object) -> AsyncIterator[bytes]:
        """Send each new frame; the first viewer starts the reading."""
        if self._tick is None:
            self._tick = asyncio.get_running_loop().create_future()
            self._reading = asyncio.create_task(self._read())
        while True:
            await asyncio.shield(self._tick)
            yield self._newest

    async def _run(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + 1 / self._fps, loop.time())
            await asyncio.sleep(due - loop.time())
            data = await self._run(self._preview)
            self._count += 1
            frame = pb.LiveFrame(sequence=self._count, data=data)
            frame.acquisition_time.FromNanoseconds(time.time_ns())
            self._newest = api.LiveViewResponse(frame=frame).SerializeToString()
            done, self._tick = self._tick, loop.create_future()
            assert done is not None
            done.set_result(None)

    def _preview(self) -> bytes:
        file = self._camera.capture_preview()
        return bytes(file.get_data_and_size())

    def _connect(self) -> None:
        self._camera.exit()
        self._camera = None
        self._camera = connect(self._port)

    def _take(self) -> bytes:
        self._camera.trigger_capture()
        place = None
        while True:
            kind, data = self._camera.wait_for_event(1000)
            if kind == gp.GP_EVENT_FILE_ADDED:
                place = (data.folder, data.name)
            elif kind == gp.GP_EVENT_CAPTURE_COMPLETE and place:
                break
        file = self._camera.file_get(*place, gp.GP_FILE_TYPE_NORMAL)
        picture = bytes(file.get_data_and_size())
        self._count += 1
        image = pb.CaptureImage(sha256=hashlib.sha256(picture).hexdigest())
        self._keep(picture, image.sha256)
        capture = pb.Capture(image=image)
        return api.CaptureResponse(capture=capture, image_data=picture).SerializeToString()

    def _keep(self, picture: bytes, sha256: str) -> None:
        staged = self._folder / "staged"
        with staged.open("wb") as out:
            out.write(picture)
            os.fsync(out.fileno())
        staged.rename(self._folder / f"{self._count}.jpg")
        folder = os.open(self._folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        if self._db is None:  # here, as a connection belongs to the thread that made it
            self._db = sqlite3.connect(self._folder / "bare.sqlite3", isolation_level=None)
            for pragma in ("journal_mode = WAL", "synchronous = FULL"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.execute("CREATE TABLE captures (number INTEGER, sha256 TEXT)")
        self._db.execute("INSERT INTO captures VALUES (?, ?)", (self._count, sha256))


async def main(iolibs: str, port: str, fps: float, folder: Path) -> None:
    """Serve until killed."""
    os.environ["IOLIBS"] = iolibs
    bare = Bare(port, fps, folder)
    handlers = {
        "Capture": grpc.unary_unary_rpc_method_handler(bare.capture),
        "ResetCamera": grpc.unary_unary_rpc_method_handler(bare.reset),
        "LiveView": grpc.unary_stream_rpc_method_handler(bare.live_view),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("camapi.v1.CameraService", handlers),)
    )
    number = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(number, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), Path(sys.argv[4])))
