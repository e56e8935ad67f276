"""What the disk refuses, sorted: full, unavailable, or not the disk's doing at all."""

import errno
import sqlite3

from camsvc.model.errors import StorageFull, StorageUnavailable
from camsvc.system import posix

DISK_ERRORS = (OSError, sqlite3.Error)
"""What a write may fail with: the folders' sync with the first, the database with the second."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_DATABASE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_ILL_DATABASE = (
    *_FULL_DATABASE,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
)


def is_full(error: BaseException) -> bool:
    """Whether a write has failed for want of room."""
    if isinstance(error, sqlite3.Error):
        return _code(error) in _FULL_DATABASE
    return isinstance(error, OSError) and error.errno in _FULL


def is_ill(error: BaseException) -> bool:
    """Whether it is the database that failed, whatever it was asked; not what was asked."""
    return isinstance(error, sqlite3.Error) and _code(error) in _ILL_DATABASE


def unavailable(error: BaseException) -> StorageUnavailable:
    """Return the error that clients get for one of the disk: without a path of the server."""
    why = f"the journal says {str(error)!r}"
    if isinstance(error, OSError):
        why = posix.reason(error)
    return StorageUnavailable(
        f"the service's disk cannot be used now: {why}; an operator has to look at its data folder"
    )


def storage_full(camera: str, why: str) -> StorageFull:
    """Return the error of a picture that there is no room for."""
    return StorageFull(
        f"camera {camera!r}: no room for another picture: {why}; delete captures, or make room on "
        "the service's disk",
        metadata={"camera": camera},
    )


def not_written(error: OSError, what: str) -> StorageFull | StorageUnavailable:
    """Return the error of what could not be written, such as a picture."""
    if is_full(error):
        return StorageFull(
            f"no room for {what} where the service keeps its pictures; delete captures, or make "
            "room on the service's disk"
        )
    return StorageUnavailable(
        f"{what} cannot be written to the service's disk: {posix.reason(error)}"
    )


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
