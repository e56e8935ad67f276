"""The least that a camera server on a bare library can do, in one process.

It answers to the service's own methods, so that the same clients can call it. A still is kept as
the service keeps it (file and folder synced, a row committed) and sent. Live frames are read while
somebody views, and each is sent to all. Nothing is checked, reported or recovered.

One thread has the library, the event loop has the clients.
"""

import asyncio
import hashlib
import os
import queue
import sqlite3
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import grpc
from camapi.v1 import camera_service_pb2 as api

from bench.peers import serving


class Camera(Protocol):
    """An open camera, as its library gives it."""

    def still(self) -> bytes:
        """Return a picture begun after this call, as a JPEG."""

    def frame(self) -> bytes:
        """Return the next live frame, as a JPEG."""

    def close(self) -> None:
        """Let the camera go."""


class Bare:
    """One camera and its clients."""

    def __init__(self, open_camera: Callable[[], Camera], folder: Path) -> None:
        self._open, self._folder = open_camera, folder
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._viewers = 0
        self._count = 0
        self._newest = b""
        self._tick: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._use_library, name="library", daemon=True).start()

    async def capture(self, request: bytes, context: object) -> bytes:
        """Take a still."""
        return await self._do(self._take)

    async def reset(self, request: bytes, context: object) -> bytes:
        """Close the camera and open it again."""
        return await self._do(self._reopen)

    async def live_view(self, request: bytes, context: object) -> AsyncIterator[bytes]:
        """Send each new frame."""
        self._viewers += 1
        self._jobs.put(lambda: None)  # the thread may wait for one
        try:
            while True:
                await asyncio.shield(self._tick)
                yield self._newest
        finally:
            self._viewers -= 1

    async def _do(self, work: Callable[[], bytes]) -> bytes:
        done: asyncio.Future[bytes] = self._loop.create_future()

        def job() -> None:
            self._loop.call_soon_threadsafe(done.set_result, work())

        self._jobs.put(job)
        return await done

    def _publish(self, message: bytes) -> None:
        self._newest = message
        tick, self._tick = self._tick, self._loop.create_future()
        tick.set_result(None)

    # On the library's thread.

    def _use_library(self) -> None:
        """Do what clients ask for; between that, read frames while there are viewers."""
        try:
            self._camera = self._open()
            self._db = sqlite3.connect(self._folder / "bare.sqlite3", isolation_level=None)
            for pragma in ("journal_mode = WAL", "synchronous = FULL"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.execute("CREATE TABLE captures (number INTEGER, sha256 TEXT)")
            while True:
                if self._viewers and self._jobs.empty():
                    self._show(self._camera.frame())
                else:
                    self._jobs.get()()
        except BaseException:
            traceback.print_exc()
            os._exit(1)  # a benchmark that waits for it has to fail at once

    def _show(self, data: bytes) -> None:
        self._count += 1
        response = api.LiveViewResponse()
        response.frame.sequence = self._count
        response.frame.data = data
        response.frame.acquisition_time.FromNanoseconds(time.time_ns())
        self._loop.call_soon_threadsafe(self._publish, response.SerializeToString())

    def _take(self) -> bytes:
        picture = self._camera.still()
        self._count += 1
        response = api.CaptureResponse(image_data=picture)
        response.capture.image.sha256 = hashlib.sha256(picture).hexdigest()
        self._keep(picture, response.capture.image.sha256)
        return response.SerializeToString()

    def _keep(self, picture: bytes, sha256: str) -> None:
        staged = self._folder / "staged"
        with staged.open("wb") as out:
            out.write(picture)
            os.fsync(out.fileno())
        staged.rename(self._folder / f"{self._count}.jpg")
        folder = os.open(self._folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        self._db.execute("INSERT INTO captures VALUES (?, ?)", (self._count, sha256))

    def _reopen(self) -> bytes:
        self._camera.close()
        del self._camera  # before there is another: libraries hold their devices by it
        self._camera = self._open()
        return b""


async def serve(open_camera: Callable[[], Camera], folder: Path) -> None:
    """Print the port, and serve until killed. Pictures are kept in `folder`."""
    bare = Bare(open_camera, folder)
    server = await serving.started(
        Capture=grpc.unary_unary_rpc_method_handler(bare.capture),
        ResetCamera=grpc.unary_unary_rpc_method_handler(bare.reset),
        LiveView=grpc.unary_stream_rpc_method_handler(bare.live_view),
    )
    await server.wait_for_termination()
