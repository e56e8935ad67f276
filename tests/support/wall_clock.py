"""A wall clock that a test sets, under a real service and its workers, and nowhere else."""

import mmap
import struct
import time
from pathlib import Path

import pytest

from tests.support import preload

_FILE_BYTES = 8


class WallClock:
    """The clock of those processes that are started by the command `entering`."""

    def __init__(self, factory: pytest.TempPathFactory, file: Path) -> None:
        self.entering = preload.entering(factory, "wall_clock", file)
        file.write_bytes(bytes(_FILE_BYTES))
        with file.open("r+b") as opened:
            self._ahead = mmap.mmap(opened.fileno(), _FILE_BYTES)
        self.ahead_s = 0.0

    def set(self, ahead_s: float) -> None:
        """Set it to so many seconds ahead of the machine's."""
        self._ahead[:] = struct.pack("=q", int(ahead_s * 1e9))
        self.ahead_s = ahead_s

    def now_s(self) -> float:
        """Return what it shows, in seconds since 1970."""
        return time.time() + self.ahead_s
