"""Pictures on their way from a worker to the service, in memory that both share.

Invariant: a slot has one owner at a time. The worker writes into a slot it owns and announces it
over the pipe; from then on the service owns it, until its `Release` message gives it back: the one
for stills, until its next `Capture`. No lock is shared, as a worker may be killed at any instant.

The memory is a file without a name (a memfd on Linux), inherited by descriptor, so that nothing
is left behind when either side dies. It is read and written with `pread` and `pwrite`, not
mapped: one copy either way, and a worker that truncates the file costs the service a short read
instead of a SIGBUS.
"""

import os
from collections.abc import Iterable

from camsvc.model.errors import WorkerLost
from camsvc.system import posix

STATE_BYTES = 4096
"""Room for the state that a driver leaves to the next worker, and its length in 4 bytes."""

SLOT_BYTES = 1 << 30
"""Room for a picture. The file is sparse: only what was written takes memory."""

LIVE_BYTES = 24_000_000
"""The most that a live frame may have, in all its encodings: the service copies it in one go, which
takes some 15 ms, and once more for those who watch."""

_KEPT_BYTES = 16 << 20

LIVE_SLOTS = range(16)
STILL_SLOT = 16
"""For the files of a still, one behind the other. It is the last one: the memory ends where they
do, and can be given back."""
PICTURE_SLOT, THUMBNAIL_SLOT = 0, 1
"""Of a worker without a camera: a picture for it, and what it makes of that."""


class SharedBlock:
    """The shared memory of one worker: a page with its driver's state, then the slots."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def create(cls) -> "SharedBlock":
        """Make a new block in the service; its descriptor is passed on to the worker.

        Raises:
            OSError: the system has no memory, or no descriptor, for it.
        """
        return cls(posix.nameless_file(cls._offset(STILL_SLOT) + SLOT_BYTES))

    def share(self) -> "SharedBlock":
        """Return the same memory with a descriptor of its own: for a thread, which closes it.

        Raises:
            WorkerLost: the worker has ended, and its memory was closed.
            OSError: there is no descriptor left.
        """
        if self.fd < 0:
            raise WorkerLost("the worker ended before its camera was asked for a picture")
        return SharedBlock(os.dup(self.fd))

    def write(self, slot: int, data: bytes | memoryview, offset: int = 0) -> None:
        """Fill a slot, or a part of it from `offset` on."""
        posix.write_at(self.fd, data, self._offset(slot) + offset)

    def write_still(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Fill the slot of a still, up to the end of the memory (worker side)."""
        offset = self._offset(STILL_SLOT)
        for piece in pieces:
            posix.write_at(self.fd, piece, offset)
            offset += len(piece)
        os.ftruncate(self.fd, offset)

    @property
    def still_bytes(self) -> int:
        """How many bytes a still has, up to the first that was not written (service side)."""
        return posix.written_bytes(self.fd, self._offset(STILL_SLOT))

    def read(self, slot: int, size_bytes: int, offset: int = 0) -> bytes:
        """Copy a slot's picture out, or a part of it.

        Raises:
            WorkerLost: less was written than was announced.
        """
        data = posix.read_at(self.fd, size_bytes, self._offset(slot) + offset)
        if len(data) != size_bytes:
            raise WorkerLost(f"the worker announced {size_bytes} bytes and wrote {len(data)}")
        return data

    def write_state(self, state: bytes) -> None:
        """Keep the driver's state, which the next worker of this camera is given."""
        if len(state) > STATE_BYTES - 4:
            raise ValueError(f"a state of {len(state)} bytes; {STATE_BYTES - 4} are allowed")
        posix.write_at(self.fd, len(state).to_bytes(4, "little") + state, 0)

    def read_state(self) -> bytes:
        """Return what `write_state` kept last, or nothing."""
        page = posix.read_at(self.fd, STATE_BYTES, 0)
        return page[4 : 4 + int.from_bytes(page[:4], "little")]

    def trim(self) -> None:
        """Give most of the memory of a still back to the system (service side).

        Some is kept: pages that are there already are filled five times as fast as new ones.
        """
        end = self._offset(STILL_SLOT) + _KEPT_BYTES
        if os.fstat(self.fd).st_size > end:
            os.ftruncate(self.fd, end)

    def clear(self) -> None:
        """Give all memory back to the system."""
        os.ftruncate(self.fd, 0)

    def close(self) -> None:
        """Close this side's descriptor; the memory goes with the last one."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @staticmethod
    def _offset(slot: int) -> int:
        return STATE_BYTES + slot * SLOT_BYTES
