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


@dataclass(frozen=True, slots=True)
class ImageReader:
    """A picture that is being read; see `Archive.open_image`."""

    record: CaptureRecord
    image: StoredImage
    fd: int
    threads: Threads

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """Return bytes of it; fewer at its end.

        Raises:
            StorageUnavailable: they cannot be read.
        """
        try:
            return await self.threads.start(lambda: posix.read_at(self.fd, size_bytes, offset))
        except OSError as error:
            raise unavailable(error) from error


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
