"""Pictures on disk, read in pieces, without the event loop waiting for the disk."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from camsvc.model.errors import CaptureNotFound
from camsvc.model.records import CaptureRecord, StoredImage
from camsvc.storage.files import FileStore
from camsvc.storage.protected import Protected
from camsvc.system import posix

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)


class ImageReader:
    """A picture that is being read; retention leaves it alone. Use as `async with`."""

    def __init__(
        self, record: CaptureRecord, image: StoredImage, fd: int, protected: Protected
    ) -> None:
        self.record = record
        self.image = image
        self._fd = fd
        self._protected = protected

    @classmethod
    async def open(
        cls, store: FileStore, protected: Protected, record: CaptureRecord, number: int
    ) -> Self:
        """Open one of the files of a capture that has a picture.

        Raises:
            CaptureNotFound: the file is gone.
        """
        image = record.files[number]
        protected.hold(record.capture_id)
        try:
            fd = await _open(lambda: store.path(image.path))
        except BaseException as error:
            protected.release(record.capture_id)
            if isinstance(error, FileNotFoundError):
                raise not_found(record.capture_id) from None
            raise
        return cls(record, image, fd, protected)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        os.close(self._fd)
        self._protected.release(self.record.capture_id)

    @property
    def size_bytes(self) -> int:
        """The whole picture's size."""
        return self.image.size_bytes

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """Return bytes of it; fewer at its end."""
        return await asyncio.to_thread(posix.read_at, self._fd, size_bytes, offset)


def not_found(capture_id: str) -> CaptureNotFound:
    """Return the error of a capture id that leads to nothing."""
    return CaptureNotFound(
        f"capture {capture_id!r} is not kept: it was never taken here, was deleted, or has expired",
        metadata={"capture_id": capture_id},
    )


async def _open(path: Callable[[], Path]) -> int:
    """Return a descriptor of a file. A caller that leaves meanwhile leaves no open one behind.

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
