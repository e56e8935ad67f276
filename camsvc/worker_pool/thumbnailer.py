"""Thumbnails, made in a worker that has no camera.

A picture may be made such that it takes its decoder over, or all memory, or for ever. So it is
decoded in a process of its own, which can be killed: that costs the thumbnail of this picture, and
nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from camsvc.ipc import messages as m
from camsvc.ipc.shared_memory import SLOT_BYTES
from camsvc.model.errors import CameraLost, Unsupported, WorkerLost
from camsvc.model.options import Launch, Sandbox
from camsvc.model.registry import NO_CAMERA
from camsvc.system import posix
from camsvc.worker_pool.process import WorkerProcess

MAKING_S = 20.0
"""Thrice what a PNG of 100 megapixels takes on a slow machine."""

IDLE_S = 60.0
"""After so long without a thumbnail the worker is ended."""

_MEMORY_BYTES = 1 << 30
"""Pillow takes as much for 100 megapixels that are to be turned, and refuses more than 179."""

_PIECE_BYTES = 1 << 20
_END_S = 5.0


def thumbnails_launch(sandbox: Sandbox) -> Launch:
    """Return what its worker is started with, in the sandbox of the service's workers."""
    memory_bytes = min(sandbox.memory_bytes, _MEMORY_BYTES)
    return Launch(NO_CAMERA, sandbox=replace(sandbox, memory_bytes=memory_bytes))


class Thumbnailer:
    """Starts a worker with the first thumbnail. They are to be asked for one at a time."""

    def __init__(
        self, launch: Launch, *, making_s: float = MAKING_S, idle_s: float = IDLE_S
    ) -> None:
        self._launch = launch
        self._making_s = making_s
        self._idle_s = idle_s
        self._worker: WorkerProcess | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def make(self, read: Callable[[int, int], Awaitable[bytes]], size_bytes: int) -> bytes:
        """Return the thumbnail of a picture, a JPEG; `read` gives the picture's bytes.

        Raises:
            Unsupported: none can be made of it, or it takes too much memory or time.
            WorkerLost: no worker can be started.
        """
        if size_bytes > SLOT_BYTES:
            raise Unsupported(f"a picture of {size_bytes} bytes; allowed: {SLOT_BYTES}")
        if self._idle is not None:
            self._idle.cancel()
        worker = await self._running()
        try:
            for offset in range(0, size_bytes, _PIECE_BYTES):
                piece = await read(offset, min(_PIECE_BYTES, size_bytes - offset))
                worker.give_picture(piece, offset)
            made = await worker.call(m.Thumbnail(size_bytes), self._making_s)
            return worker.take_thumbnail(made)
        except CameraLost as error:
            worker.kill("a picture was too much for it")
            raise Unsupported(f"no thumbnail can be made of it: {error}") from error
        except OSError as error:
            raise WorkerLost(f"no memory for its picture: {posix.reason(error)}") from error
        except asyncio.CancelledError:
            worker.kill("nobody waits for the thumbnail that it is at")
            raise
        finally:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self._idle_s, worker.kill, "no thumbnail is asked for")

    async def _running(self) -> WorkerProcess:
        if self._worker is None or not self._worker.alive:
            self._worker = await WorkerProcess.start(self._launch)
        return self._worker

    async def close(self) -> None:
        """End the worker."""
        if self._idle is not None:
            self._idle.cancel()
        if self._worker is not None:
            await self._worker.end("the service ends", _END_S)
