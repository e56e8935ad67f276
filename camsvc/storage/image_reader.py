"""Pictures on disk, read in pieces, without the event loop waiting for the disk."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from camsvc.model.records import CaptureRecord, StoredImage
from camsvc.system import posix

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)


class ImageReader:
    """A picture that is being read. Use as `async with`."""

    def __init__(
        self, record: CaptureRecord, image: StoredImage, fd: int, release: Callable[[], None]
    ) -> None:
        self.record = record
        self.image = image
        self._fd = fd
        self._release = release

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        os.close(self._fd)
        self._release()

    @property
    def size_bytes(self) -> int:
        """The whole picture's size."""
        return self.image.size_bytes

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """Return bytes of it; fewer at its end."""
        return await asyncio.to_thread(posix.read_at, self._fd, size_bytes, offset)


async def open_to_read(path: Callable[[], Path]) -> int:
    """Return a descriptor of a file. Who leaves meanwhile leaves no open descriptor behind.

    `path` is called on a thread, as finding it may wait for the disk, too.
    """
    opening = asyncio.create_task(asyncio.to_thread(lambda: os.open(path(), _READ)), name="open")
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_again)
        raise


def _close_again(opening: "asyncio.Task[int]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())
