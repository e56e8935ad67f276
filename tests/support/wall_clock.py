"""A wall clock that a test sets, under a real service and its workers, and nowhere else."""

import mmap
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.left_out import lacking

_SOURCE = Path(__file__).with_suffix(".c")
_FILE_BYTES = 8


class WallClock:
    """The clock of those processes that are started by the command `entering`."""

    def __init__(self, library: Path, file: Path) -> None:
        file.write_bytes(bytes(_FILE_BYTES))
        with file.open("r+b") as opened:
            self._ahead = mmap.mmap(opened.fileno(), _FILE_BYTES)
        self.entering: Sequence[str] = ("env", f"LD_PRELOAD={library}", f"WALL_CLOCK={file}")
        self.ahead_s = 0.0

    def set(self, ahead_s: float) -> None:
        """Set it to so many seconds ahead of the machine's."""
        self._ahead[:] = struct.pack("=q", int(ahead_s * 1e9))
        self.ahead_s = ahead_s

    def now_s(self) -> float:
        """Return what it shows, in seconds since 1970."""
        return time.time() + self.ahead_s


def build(folder: Path) -> None:
    """Compile what stands between a process and its wall clock into a folder; see `library`."""
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library(folder)), str(_SOURCE)]
    subprocess.run(command, check=True)


def library(folder: Path) -> Path:
    return folder / "wall_clock.so"


def require() -> None:
    """Leave the test out where the clock cannot be stood in for."""
    if sys.platform != "linux":
        lacking("a wall clock can be set for some processes alone only on Linux", "")
    if shutil.which("cc") is None:
        lacking("no C compiler", "apt-get install gcc libc6-dev")
