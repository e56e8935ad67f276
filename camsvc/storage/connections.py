"""Connections to the database, and what the disk's errors mean."""

import contextlib
import errno
import sqlite3
from pathlib import Path
from sqlite3 import Connection

from camsvc.storage import schema

_LOCKED_S = 2.0
"""How long another program's write is waited for."""

_HINTS = {
    sqlite3.SQLITE_NOTADB: "is not a database; move it away to begin with an empty journal",
    sqlite3.SQLITE_CORRUPT: "is damaged; put a copy in its place, or move it away",
    sqlite3.SQLITE_READONLY: "cannot be written to; check the permissions of it and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check the permissions of it and its folder",
    sqlite3.SQLITE_FULL: "has no room; free some on its disk",
    sqlite3.SQLITE_BUSY: "is locked by another program",
}

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

DISK_ERRORS = (OSError, sqlite3.Error)
"""What a write may fail with: the folders' sync with the first, the database with the second."""


def is_full(error: BaseException) -> bool:
    """Whether a write has failed for want of room."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    return isinstance(error, OSError) and error.errno in _FULL


class UnusableDatabase(Exception):
    """The database cannot be used: the message says why and, where it can, what to do."""


def connect(path: Path, count: int) -> list[Connection]:
    """Return connections to the database at `path`, made when missing: the first one may write.

    Raises:
        UnusableDatabase: it cannot be opened, made or written to, or is of a newer version.
    """
    with contextlib.ExitStack() as opened:
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            writer = opened.enter_context(contextlib.closing(_connect(path)))
            schema.prepare(writer)
            readers = [
                opened.enter_context(contextlib.closing(_connect(path))) for _ in range(1, count)
            ]
            for reader in readers:
                reader.execute("PRAGMA query_only = ON")
        except OSError as error:
            why = error.strerror or error
            raise UnusableDatabase(
                f"the journal's folder {path.parent} cannot be used: {why}"
            ) from error
        except schema.NewerDatabase as error:
            raise UnusableDatabase(str(error)) from error
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            why = _HINTS.get(code, "cannot be opened")
            raise UnusableDatabase(f"the journal {path} {why} ({error})") from error
        opened.pop_all()
    return [writer, *readers]


def _connect(path: Path) -> Connection:
    # Each connection is used by one thread at a time, but opened and closed by others.
    db = sqlite3.connect(path, timeout=_LOCKED_S, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = FULL")
    return db
