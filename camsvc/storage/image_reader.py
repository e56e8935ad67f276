"""Pictures on disk, read in pieces, without the event loop waiting for the disk."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from camsvc.model.errors import CaptureNotFound
from camsvc.model.records import CaptureRecord, StoredImage
from camsvc.storage.disk_errors import unavailable
from camsvc.system import posix

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class ImageReader:
    """A picture that is being read; see `Archive.open_image`."""

    record: CaptureRecord
    image: StoredImage
    fd: int

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """Return bytes of it; fewer at its end.

        Raises:
            StorageUnavailable: they cannot be read.
        """
        try:
            return await asyncio.to_thread(posix.read_at, self.fd, size_bytes, offset)
        except OSError as error:
            raise unavailable(error) from error


@contextlib.asynccontextmanager
async def opened(path: Callable[[], Path], capture_id: str) -> AsyncIterator[int]:
    """Give a descriptor of a capture's file. A caller that leaves meanwhile leaves no open one.

    `path` is called on a thread, as finding it may wait for the disk, too.

    Raises:
        CaptureNotFound: the file is gone.
        StorageUnavailable: it cannot be opened now.
    """
    opening = asyncio.create_task(asyncio.to_thread(lambda: os.open(path(), _READ)), name="open")
    try:
        fd = await asyncio.shield(opening)
    except FileNotFoundError:
        raise not_found(capture_id) from None
    except OSError as error:
        raise unavailable(error) from error
    except asyncio.CancelledError:
        opening.add_done_callback(_close_again)
        raise
    try:
        yield fd
    finally:
        os.close(fd)


def not_found(capture_id: str) -> CaptureNotFound:
    """Return the error of a capture id that leads to nothing."""
    return CaptureNotFound(
        f"capture {capture_id!r} is not kept: it was never taken here, was deleted, or has expired",
        metadata={"capture_id": capture_id},
    )


def _close_again(opening: "asyncio.Task[int]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())
