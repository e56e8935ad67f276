"""The pictures on disk.

    staging/<capture id>.<attempt>          half-written; emptied at start
    staging/<capture id>.<attempt>.1        the shot's second file, and so on
    staging/<capture id>.<attempt>.json     a note: the picture is held for a retry
    captures/2026-08-01/<capture id>.jpg    kept, by the UTC date of the capture's creation
    captures/2026-08-01/<capture id>.1.nef
    orphans/<name>                          found without a record
    lock                                    held while the folder is in use

Invariant: a picture is renamed into `captures/` once it is complete and on the disk, and `sync`
makes its name last. So whatever `captures/` has is whole, and whatever was recorded after a `sync`
is there.

All methods but `staging_path` block, and may be called from any thread. They raise OSError.
"""

import contextlib
import errno
import os
import shutil
import tempfile
import time
from pathlib import Path, PurePosixPath
from threading import Lock

from camsvc.ipc.messages import part_path
from camsvc.model import filetype
from camsvc.system import posix

_STAGING, _CAPTURES, _ORPHANS = "staging", "captures", "orphans"
_MODE = 0o750
_PROBE_BYTES = 4096
_SPARE_DESCRIPTORS = 8
"""What keeping a picture needs at most: its file, its folders, the journal's files."""
_NOTE = ".json"


class FileStore:
    """The pictures in one folder. Paths given and returned are relative to it, with "/"."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.abspath(folder))
        self._lock = Lock()
        """Held where dated folders come and go, and for `_unsynced`."""
        self._unsynced: set[Path] = set()
        self._folders = (self._folder, self._folder / _STAGING, self._folder / _CAPTURES)
        self._held: int | None = None
        """The descriptor of the lock."""

    def prepare(self) -> None:
        """Make the folders that are missing, and lock them: also where others have deleted them.

        Raises:
            BlockingIOError: another camsvc has the lock.
        """
        for folder in self._folders:
            if not folder.is_dir():
                folder.mkdir(_MODE, parents=True, exist_ok=True)
                posix.sync_folder(folder.parent)
        path = self._folder / "lock"
        with contextlib.suppress(FileNotFoundError):
            if self._held is not None and os.path.samestat(os.fstat(self._held), path.stat()):
                return
        lock = posix.lock_file(path)
        if lock is None:
            raise BlockingIOError(errno.EAGAIN, "the data folder is in use by another camsvc")
        self.close()
        self._held = lock

    def close(self) -> None:
        """Let go of the lock."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def probe(self, *, write: bool) -> None:
        """Look whether a picture can be kept now; `write` tries it.

        Raises:
            OSError: none can.
        """
        for folder in self._folders:
            posix.require_writable(folder)
        with contextlib.ExitStack() as spare:
            for _ in range(_SPARE_DESCRIPTORS):
                spare.enter_context(open(os.devnull, "rb", buffering=0))
        if write:
            with tempfile.TemporaryFile(dir=self._folder / _STAGING, buffering=0) as file:
                file.write(bytes(_PROBE_BYTES))
                os.fsync(file.fileno())

    def staging_path(self, capture_id: str, attempt: int) -> Path:
        """Return where an attempt's picture is to be written. Does not touch the disk."""
        if capture_id != PurePosixPath(capture_id).name or "." in capture_id:
            raise ValueError(f"capture id {capture_id!r} is not a file's name, or has a dot in it")
        return self._folder / _STAGING / f"{capture_id}.{attempt}"

    def keep(
        self, staged: Path, capture_id: str, create_time_ns: int, mime_type: str, number: int = 0
    ) -> str:
        """Move a complete, synced file to its place, and return that. It lasts after `sync`.

        `number` is the file's among those of its shot.
        """
        date = time.strftime("%Y-%m-%d", time.gmtime(create_time_ns // 10**9))
        name = part_path(capture_id, number)
        relative = f"{_CAPTURES}/{date}/{name}.{filetype.extension(mime_type)}"
        kept = self.path(relative)
        with self._lock:
            if not kept.parent.is_dir():
                kept.parent.mkdir(_MODE)
                self._unsynced.add(kept.parent.parent)
            staged.replace(kept)
            self._unsynced.add(kept.parent)
        return relative

    def sync(self) -> None:
        """Make what was kept last, whatever happens to the machine.

        Where it fails, it is tried again with the next call.
        """
        with self._lock:
            folders, self._unsynced = self._unsynced, set()
        try:
            for folder in folders:
                with contextlib.suppress(FileNotFoundError):  # its last picture was deleted
                    posix.sync_folder(folder)
        except OSError:
            with self._lock:
                self._unsynced |= folders
            raise

    def path(self, relative: str) -> Path:
        """Return where a picture is.

        Raises:
            ValueError: that is not inside the folder.
        """
        root = self._folder.resolve()
        path = (root / relative).resolve()
        if ".." in PurePosixPath(relative).parts or root not in path.parents:
            raise ValueError(f"path {relative!r} does not lead to a picture of the store")
        return path

    def delete(self, relative: str) -> None:
        """Delete a picture, if it is there, and its dated folder with the last one."""
        path = self.path(relative)
        path.unlink(missing_ok=True)
        self._remove_if_empty(path.parent)

    def discard(self, staged: str) -> None:
        """Delete a staged file and those of the same shot, as far as they are there."""
        path = Path(staged)
        for each in [path, *path.parent.glob(f"{path.name}.*")]:
            each.unlink(missing_ok=True)

    def note(self, staged: str, text: str) -> None:
        """Write beside a staged file what it is; `sweep` leaves it there, `notes` has the text."""
        path = Path(staged + _NOTE)
        with path.open("wb", buffering=0) as file:
            file.write(text.encode())
            os.fsync(file.fileno())
        posix.sync_folder(path.parent)

    def notes(self) -> dict[str, str]:
        """Return the texts of the notes, by their staged files; a text may be cut off."""
        found = (self._folder / _STAGING).glob(f"*{_NOTE}")
        return {str(path).removesuffix(_NOTE): path.read_text(errors="replace") for path in found}

    def set_aside(self, relative: str) -> str:
        """Move a picture that no record knows to `orphans/`, and return its new path."""
        path = self.path(relative)
        orphans = self._folder / _ORPHANS
        with self._lock:
            orphans.mkdir(_MODE, exist_ok=True)
            name, count = path.name, 0
            while (orphans / name).exists():
                count += 1
                name = f"{path.stem}-{count}{path.suffix}"
            path.rename(orphans / name)
            self._unsynced |= {orphans, path.parent}
        self._remove_if_empty(path.parent)
        return f"{_ORPHANS}/{name}"

    def sweep(self) -> int:
        """Empty `staging/`, but for what is noted, and return how many went.

        No picture may be on its way.
        """
        noted = tuple(f"{Path(staged).name}." for staged in self.notes())
        found = (self._folder / _STAGING).iterdir()
        entries = [entry for entry in found if not f"{entry.name}.".startswith(noted)]
        for entry in entries:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        return len(entries)

    def files(self) -> dict[str, str]:
        """Return the capture id of every picture that is found, by its path.

        There may be several of an id: other programs put files of the same name next to a picture.
        """
        found: dict[str, str] = {}
        with os.scandir(self._folder / _CAPTURES) as dates:
            for date in dates:
                if not date.is_dir():
                    continue
                with os.scandir(date.path) as pictures:
                    for name in [picture.name for picture in pictures if picture.is_file()]:
                        found[f"{_CAPTURES}/{date.name}/{name}"] = name.partition(".")[0]
        return found

    def free_bytes(self) -> int:
        """Return how much more the folder can take; what is reserved for root does not count."""
        return shutil.disk_usage(self._folder).free

    def _remove_if_empty(self, folder: Path) -> None:
        """Remove a dated folder with nothing in it; one that cannot be removed does no harm."""
        if folder.parent == self._folder.resolve() / _CAPTURES:
            with self._lock, contextlib.suppress(OSError):
                folder.rmdir()
