"""What a capture's syncs cost on this disk, with nothing of camsvc around them."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path


class BareDisk:
    """Does to a folder what keeping a picture does, and times what waits for the disk only."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self._folder = folder
        self._data = os.urandom(size_bytes)
        self._count = 0
        self._db = sqlite3.connect(folder / "bare.sqlite3", isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE captures (capture_id TEXT, record TEXT)")

    def sync_s(self) -> float:
        """Keep one picture; return the seconds spent in `fsync` and in the commit."""
        self._count += 1
        staged, kept = self._folder / "staged", self._folder / f"{self._count}.jpg"
        fd = os.open(staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.write(fd, self._data)
        spent_s = _timed(lambda: os.fsync(fd))
        os.close(fd)
        staged.rename(kept)
        folder = os.open(self._folder, os.O_RDONLY)
        spent_s += _timed(lambda: os.fsync(folder))
        os.close(folder)
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("INSERT INTO captures VALUES (?, ?)", (str(self._count), "x" * 800))
        spent_s += _timed(lambda: self._db.execute("COMMIT"))
        kept.unlink()
        return spent_s


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
