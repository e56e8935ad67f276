"""The data folder, opened: its files, its database, and the lock that keeps others out."""

import os
from pathlib import Path

from camsvc.storage.connections import UnusableDatabase
from camsvc.storage.database import Database
from camsvc.storage.files import FileStore
from camsvc.system import posix


class ArchiveError(Exception):
    """The data folder cannot be used; the message says why and what to do."""


def open_folder(store: FileStore, folder: Path) -> tuple[Database, int]:
    """Return the database of a data folder, made when missing, and the lock on it. Blocks.

    Raises:
        ArchiveError: it cannot be used.
    """
    try:
        store.prepare()
        lock = posix.lock_file(folder / "lock")
    except OSError as error:
        raise ArchiveError(
            f"the data folder {folder} cannot be used: {error.strerror}; choose another with "
            "--data-dir DIR or service.data_dir"
        ) from error
    if lock is None:
        raise ArchiveError(
            f"the data folder {folder} is in use by another camsvc; stop that, or choose another "
            "with --data-dir DIR or service.data_dir"
        )
    try:
        database = Database.open(folder / "journal.sqlite3", before_commit=store.sync)
    except UnusableDatabase as error:
        os.close(lock)
        raise ArchiveError(f"the data folder {folder} cannot be used: {error}") from error
    return database, lock
