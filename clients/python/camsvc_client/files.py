"""Files that are written as a whole, or stay as they were."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO
from uuid import uuid4


def write_whole(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Write a file in one step; with `sync` it survives a power cut once this returns.

    Raises:
        OSError: the file cannot be written.
    """
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise named(error, path) from None
        raise
    if sync:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder as durable as the bytes of its files, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def named(error: OSError, path: Path) -> OSError:
    """Return an error that says which file it is about: a full disk's does not."""
    return OSError(error.errno, error.strerror, str(path)) if error.errno else error


def lock(file: IO[bytes]) -> None:
    """Keep other processes from locking a file, until it is closed; not on Windows.

    Raises:
        BlockingIOError: another one has it.
    """
    if sys.platform == "win32":
        return
    import fcntl  # noqa: PLC0415 - not everywhere

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BlockingIOError(error.errno, "in use by another program", file.name) from None
