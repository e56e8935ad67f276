"""A still on its way out of the worker: finished, in the slot, and hashed and synced in its file.

The file is there, empty, before the shutter: where none can be made, no picture is taken. It is
whole in the end or not there at all, unless the worker is killed meanwhile.
"""

import contextlib
import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from camsvc.images import codec, exif
from camsvc.ipc.messages import Capture, Captured, ImageInfo, part_path
from camsvc.ipc.shared_memory import NO_SLOT, STILL_SLOT, SharedBlock
from camsvc.model import errors
from camsvc.model.values import DeviceInfo, Frame
from camsvc.system import posix

_MODE = 0o640
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No blocks or inodes; over the quota; over the limit for a file's size."""


class StillWriter:
    """Hands stills over, through the one slot for them and through files."""

    def __init__(self, block: SharedBlock) -> None:
        self._block = block
        self._slot_free = threading.Event()
        self._slot_free.set()

    def release(self) -> None:
        """Take the slot back; on the pipe's thread where the service gives it."""
        self._block.trim(STILL_SLOT)
        self._slot_free.set()

    def hand_over(
        self,
        picture: codec.Picture,
        command: Capture,
        device: DeviceInfo,
        driver_s: float,
        *,
        file: BinaryIO,
    ) -> Captured:
        """Finish a picture that has passed the gate as `command` wants it, and hand it over.

        `file` is that of `command`, as `new_file` gives it.

        Raises:
            StorageFull: there is no room for it.
            StorageUnavailable: it could not be written; the camera is well.
        """
        started = time.perf_counter()
        frame = picture.frame
        data, output = codec.finish(picture, command.shot)
        size_px = output.width_px, output.height_px
        pieces = exif.tagged(data, frame, device, command.comment, size_px=size_px)
        size_bytes = sum(map(len, pieces))
        slot = self._offer(pieces) if size_bytes <= command.inline_bytes else NO_SLOT
        encoded = time.perf_counter()
        try:
            sha256 = store(file, pieces, read_soon=slot == NO_SLOT)
            others = _store_others(frame, command.path)
        except Exception:
            if slot != NO_SLOT:
                self.release()
            raise
        store_s = time.perf_counter() - encoded
        image = ImageInfo(
            slot=slot,
            size_bytes=size_bytes,
            mime_type=output.mime_type,
            width_px=output.width_px,
            height_px=output.height_px,
            acquisition_time_ns=frame.acquisition_time_ns,
            sha256=sha256,
            exposure_us=frame.exposure_us,
            controls=dict(frame.controls),
            name=frame.name,
        )
        return Captured(image, driver_s, encoded - started, store_s, others, list(frame.warnings))

    def _offer(self, pieces: Sequence[memoryview]) -> int:
        """Fill the slot, and return it."""
        self._slot_free.wait()
        self._block.write(STILL_SLOT, b"".join(pieces) if len(pieces) > 1 else pieces[0])
        self._slot_free.clear()
        return STILL_SLOT


def _store_others(frame: Frame, path: str) -> list[ImageInfo]:
    """Write a shot's further files as they are; return what they are.

    Raises: as `store`. Those that were written then are the service's to delete.
    """
    stored = []
    for number, file in enumerate(frame.others, start=1):
        with discarding(new_file(part_path(path, number))) as part:
            sha256 = store(part, [memoryview(file.data)])
        width, height = file.size_px or (0, 0)
        stored.append(
            ImageInfo(
                slot=NO_SLOT,
                size_bytes=len(file.data),
                mime_type=file.mime_type,
                width_px=width,
                height_px=height,
                acquisition_time_ns=frame.acquisition_time_ns,
                sha256=sha256,
                name=file.name,
            )
        )
    return stored


def new_file(path: str) -> BinaryIO:
    """Return a new file.

    Raises:
        StorageFull, StorageUnavailable: none can be made. Neither names the path, as their texts
            reach clients.
    """
    try:
        return open(path, "xb", buffering=0, opener=lambda name, flags: os.open(name, flags, _MODE))
    except OSError as error:
        raise _failure(error, "a picture") from error


@contextlib.contextmanager
def discarding(file: BinaryIO) -> Iterator[BinaryIO]:
    """Give a file back; it is removed where the block fails."""
    try:
        yield file
    except BaseException:
        discard(file)
        raise


def discard(file: BinaryIO) -> None:
    """Remove a file that no picture came into."""
    file.close()
    with contextlib.suppress(OSError):
        os.unlink(file.name)


def store(file: BinaryIO, pieces: Sequence[memoryview], *, read_soon: bool = True) -> str:
    """Write a picture to a new file, sync and close it; return its SHA-256 in hexadecimal.

    Unless it is `read_soon`, the system need not cache it: the next one then finds memory that is
    in use already, where a virtual machine has to ask its host for more (0.4 instead of 6.5 ms for
    2 MB).

    It is hashed meanwhile, on a second thread: both let go of the GIL. That saves a quarter (3.1 to
    2.5 ms for 2 MB, 16.7 to 12.2 ms for 12 MB), and more where the processor is slower than its
    disk; less where no core is free.

    Raises:
        StorageFull: there is no room for it.
        StorageUnavailable: it could not be written.
    """
    digest = hashlib.sha256()

    def digest_all() -> None:
        for piece in pieces:
            digest.update(piece)

    try:
        # Only when it is closed do some file systems report that there is no room.
        with _beside(digest_all), file:
            _write(file.fileno(), pieces, read_soon=read_soon)
    except OSError as error:
        raise _failure(error, f"a picture of {sum(map(len, pieces))} bytes") from error
    return digest.hexdigest()


@contextlib.contextmanager
def _beside(work: Callable[[], None]) -> Iterator[None]:
    """Do work on a second thread during the block; before it, where the system has none left."""
    thread = threading.Thread(target=work, name="sha256")
    try:
        thread.start()
    except RuntimeError:
        work()
        yield
        return
    try:
        yield
    finally:
        thread.join()


def _write(fd: int, pieces: Sequence[memoryview], *, read_soon: bool) -> None:
    for piece in pieces:
        left = piece
        while left:
            left = left[os.write(fd, left) :]
    os.fsync(fd)
    if not read_soon:
        posix.drop_cached(fd)


def _failure(error: OSError, what: str) -> Exception:
    if error.errno in _FULL:
        return errors.StorageFull(
            f"no room for {what} where the service keeps its pictures; delete captures, or make "
            "room on the service's disk"
        )
    return errors.StorageUnavailable(
        f"{what} cannot be written to the service's disk: {posix.reason(error)}"
    )
