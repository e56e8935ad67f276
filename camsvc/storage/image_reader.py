"""Pictures on disk, read in pieces, without the event loop waiting for the disk."""

import contextlib
import io
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

from camsvc.model.errors import CaptureNotFound, StorageUnavailable
from camsvc.model.records import CaptureRecord, StoredImage
from camsvc.storage.disk_errors import unavailable
from camsvc.storage.files import FileStore
from camsvc.storage.threads import Threads
from camsvc.system import posix
from camsvc.system.event_loop import loop_time

GRACE_S = 120.0
"""How long a picture that was deleted meanwhile is read on. An open file keeps its bytes on the
disk; so a client that reads little of it keeps no room for ever."""


@dataclass(slots=True)
class ImageReader:
    """A picture that is being read; see `Archive.open_image`."""

    record: CaptureRecord
    image: StoredImage
    fd: int
    threads: Threads
    grace_s: float = GRACE_S
    _deleted_at: float | None = None
    """When it was first seen to be deleted, by the event loop's time."""

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """Return bytes of it; fewer at its end.

        Raises:
            StorageUnavailable: they cannot be read.
            CaptureNotFound: it was deleted, longer ago than it is read on.
        """
        try:
            data, deleted = await self.threads.start(lambda: self._read(offset, size_bytes))
        except OSError as error:
            raise unavailable(error) from error
        if deleted:
            now = loop_time()
            self._deleted_at = now if self._deleted_at is None else self._deleted_at
            if now >= self._deleted_at + self.grace_s:
                capture_id = self.record.capture_id
                raise CaptureNotFound(
                    f"capture {capture_id!r} was deleted or has expired while it was read, and was "
                    f"not read to its end within {self.grace_s:g} s",
                    metadata={"camera": self.record.camera, "capture_id": capture_id},
                )
        return data

    def _read(self, offset: int, size_bytes: int) -> tuple[bytes, bool]:
        return posix.read_at(self.fd, size_bytes, offset), posix.is_deleted(self.fd)


@contextlib.asynccontextmanager
async def opened(
    store: FileStore, threads: Threads, record: CaptureRecord, image: StoredImage
) -> AsyncIterator[ImageReader]:
    """Give a reader of a capture's file. A caller that leaves meanwhile leaves no open one.

    Raises:
        CaptureNotFound: the file is gone.
        StorageUnavailable: it cannot be opened now, or is not what was kept.
    """
    capture_id = record.capture_id

    def open_file() -> tuple[io.FileIO, int]:
        file = store.open(image.path)
        return file, os.fstat(file.fileno()).st_size

    try:
        file, size_bytes = await threads.run(open_file, lambda opened: opened[0].close())
    except FileNotFoundError:
        raise not_found(capture_id) from None
    except OSError as error:
        raise unavailable(error) from error
    with file:
        if size_bytes != image.size_bytes:
            raise StorageUnavailable(
                f"capture {capture_id!r}: its picture was changed on the service's disk: it has "
                f"{size_bytes} bytes, and had {image.size_bytes} when it was kept"
            )
        yield ImageReader(record, image, file.fileno(), threads)


def not_found(capture_id: str) -> CaptureNotFound:
    """Return the error of a capture id that leads to nothing."""
    return CaptureNotFound(
        f"capture {capture_id!r} is not kept: it was never taken here, was deleted, or has expired",
        metadata={"capture_id": capture_id},
    )
