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

No name leads out of these folders: they are held open (see `system.folder`), and what is not a
regular file in them, such as a link or a FIFO, counts as not there.

All methods but `staged_name` block, and may be called from any thread. They raise OSError.
"""

import contextlib
import errno
import io
import os
import shutil
import time
from pathlib import Path, PurePosixPath
from threading import Lock

import structlog

from camsvc.model import filetype
from camsvc.model.records import CaptureRecord
from camsvc.storage import data_folder
from camsvc.system import posix, posix_access
from camsvc.system.folder import Folder

_log = structlog.get_logger()

_STAGING, _CAPTURES, _ORPHANS = data_folder.STAGING, data_folder.CAPTURES, data_folder.ORPHANS
_MODE = 0o700
_PROBE = "probe"
_PROBE_BYTES = 4096
_SPARE_DESCRIPTORS = 8
"""What keeping a picture needs at most: its file, its folders, the journal's files."""
_NOTE = ".json"
_NOTE_BYTES = 4 << 20
"""More than a capture's record has."""


def part_name(name: str, number: int) -> str:
    """Return how the file `number` of a shot is called, from 0 on, the first being `name`."""
    return f"{name}.{number}" if number else name


def staged_name(capture_id: str, attempt: int) -> str:
    """Return how an attempt's picture is called in `staging/`."""
    if capture_id != PurePosixPath(capture_id).name or "." in capture_id:
        raise ValueError(f"capture id {capture_id!r} is not a file's name, or has a dot in it")
    return f"{capture_id}.{attempt}"


class FileStore:
    """The pictures in one folder. Paths given and returned are relative to it, with "/"."""

    def __init__(self, folder: Path) -> None:
        self._path = Path(os.path.abspath(folder))
        self._lock = Lock()
        """Held where dated folders come and go, and for `_unsynced`."""
        self._unsynced: dict[str, Folder] = {}
        self._held: int | None = None
        """The descriptor of the lock."""
        self._folders: dict[str, Folder] = {}
        """The data folder, by "", and those in it."""

    def prepare(self) -> None:
        """Make the folders that are missing, and lock them: also where others have deleted them.

        Raises:
            BlockingIOError: another camsvc has the lock.
        """
        if not self._path.is_dir():
            self._path.mkdir(_MODE, parents=True, exist_ok=True)
            posix.sync_folder(self._path.parent)
        root = self._folders.get("")
        if root is None or not root.is_at(self._path):
            root = self._folders[""] = Folder.at(self._path)
        for name in (_STAGING, _CAPTURES):
            held = self._folders.get(name)
            if held is None or not root.has(name, held):
                if held is not None and root.is_link(name):
                    _log.error("link in the place of a folder removed", folder=name)
                    root.remove(name)
                if root.make_folder(name):
                    root.sync()
                try:
                    self._folders[name] = root.folder(name)
                except FileNotFoundError:
                    why = f"{name!r} in it is a link, or no folder"
                    raise NotADirectoryError(errno.ENOTDIR, why) from None
        path = self._path / data_folder.LOCK
        with contextlib.suppress(FileNotFoundError):
            if self._held is not None and os.path.samestat(os.fstat(self._held), path.lstat()):
                return
        lock = posix_access.lock_file(path)
        if lock is None:
            raise BlockingIOError(errno.EAGAIN, "the data folder is in use by another camsvc")
        self._unlock()
        self._held = lock

    def close(self) -> None:
        """Let go of the folders, and of the lock."""
        self._folders.clear()
        self._unsynced.clear()
        self._unlock()

    def _unlock(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    @property
    def staging(self) -> Folder:
        """The folder for what is half-written, as it is now."""
        return self._folders[_STAGING]

    def probe(self, *, write: bool) -> None:
        """Look whether a picture can be kept now; `write` tries it.

        Raises:
            OSError: none can.
        """
        for folder in (self._path, self._path / _STAGING, self._path / _CAPTURES):
            posix.require_writable(folder)
        with contextlib.ExitStack() as spare:
            for _ in range(_SPARE_DESCRIPTORS):
                spare.enter_context(open(os.devnull, "rb", buffering=0))
        if write:
            self.staging.remove(_PROBE)
            with self.staging.create(_PROBE) as file:
                self.staging.remove(_PROBE)
                file.write(bytes(_PROBE_BYTES))
                os.fsync(file.fileno())

    def keep(self, record: CaptureRecord, number: int, staged: str) -> str:
        """Move a complete, synced file to its place, and return that. It lasts after `sync`.

        `number` is the file's among those of its shot, whose first is staged as `staged`.

        Raises:
            OSError: also where it is not the file that the record describes.
        """
        file = record.files[number]
        date = time.strftime("%Y-%m-%d", time.gmtime(record.create_time_ns // 10**9))
        name = f"{part_name(record.capture_id, number)}.{filetype.extension(file.mime_type)}"
        source = part_name(staged, number)
        with self._lock:
            captures = self._folders[_CAPTURES]
            if captures.make_folder(date):
                self._unsynced[_CAPTURES] = captures
            folder = captures.folder(date)
            if self.staging.size(source) != file.size_bytes:
                raise OSError(errno.ESTALE, "the picture's file is gone, or was changed")
            self.staging.move(source, folder, name)
            self._unsynced[date] = folder
        return f"{_CAPTURES}/{date}/{name}"

    def put_back(self, relative: str, staged: str, number: int) -> None:
        """Undo `keep`."""
        folder, name = self._place(relative)
        folder.move(name, self.staging, part_name(staged, number))

    def is_staged(self, record: CaptureRecord, staged: str) -> bool:
        """Whether the files of a capture are in `staging/`, as the record describes them."""
        found = [self.staging.size(part_name(staged, n)) for n in range(len(record.files))]
        return bool(found) and found == [file.size_bytes for file in record.files]

    def sync(self) -> None:
        """Make what was kept last, whatever happens to the machine.

        Where it fails, it is tried again with the next call.
        """
        with self._lock:
            folders, self._unsynced = self._unsynced, {}
        try:
            for folder in folders.values():
                folder.sync()
        except OSError:
            with self._lock:
                self._unsynced = {**folders, **self._unsynced}
            raise

    def open(self, relative: str) -> io.FileIO:
        """Return a picture, open for reading.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: the path is not one that `keep` has returned.
        """
        folder, name = self._place(relative)
        return folder.open(name)

    def delete(self, relative: str) -> None:
        """Delete a picture, if it is there, and its dated folder with the last one."""
        with contextlib.suppress(FileNotFoundError):
            folder, name = self._place(relative)
            folder.remove(name)
            self._remove_if_empty(relative)

    def discard(self, staged: str) -> None:
        """Delete a staged file and those of the same shot, as far as they are there."""
        folder = self.staging
        for name in folder.names():
            if f"{name}.".startswith(f"{staged}."):
                folder.remove(name)

    def note(self, staged: str, text: str) -> None:
        """Write beside a staged file what it is; `sweep` leaves it there, `notes` has the text."""
        folder, name = self.staging, staged + _NOTE
        folder.remove(name)
        with folder.create(name) as file:
            file.write(text.encode())
            os.fsync(file.fileno())
        folder.sync()

    def notes(self) -> dict[str, str]:
        """Return the texts of the notes, by their staged files; a text may be cut off."""
        folder = self.staging
        texts = {}
        for name in folder.names():
            if name.endswith(_NOTE):
                with contextlib.suppress(FileNotFoundError), folder.open(name) as file:
                    texts[name.removesuffix(_NOTE)] = file.read(_NOTE_BYTES).decode(
                        errors="replace"
                    )
        return texts

    def set_aside(self, relative: str) -> str:
        """Move a picture that no record knows to `orphans/`, and return its new path."""
        folder, name = self._place(relative)
        with self._lock:
            root = self._folders[""]
            root.make_folder(_ORPHANS)
            orphans = root.folder(_ORPHANS)
            new, count, taken = name, 0, set(orphans.names())
            while new in taken:
                count += 1
                new = f"{PurePosixPath(name).stem}-{count}{PurePosixPath(name).suffix}"
            folder.move(name, orphans, new)
            self._unsynced |= {_ORPHANS: orphans, PurePosixPath(relative).parts[1]: folder}
        self._remove_if_empty(relative)
        return f"{_ORPHANS}/{new}"

    def sweep(self) -> int:
        """Empty `staging/`, but for what is noted, and return how many went.

        No picture may be on its way.
        """
        noted = tuple(f"{staged}." for staged in self.notes())
        names = [name for name in self.staging.names() if not f"{name}.".startswith(noted)]
        for name in names:
            self.staging.remove(name)
        return len(names)

    def files(self) -> dict[str, str]:
        """Return the capture id of every picture that is found, by its path.

        There may be several of an id: other programs put files of the same name next to a picture.
        """
        found: dict[str, str] = {}
        captures = self._folders[_CAPTURES]
        for date in captures.folders():
            for name in captures.folder(date).files():
                found[f"{_CAPTURES}/{date}/{name}"] = name.partition(".")[0]
        return found

    def free_bytes(self) -> int:
        """Return how much more the folder can take; what is reserved for root does not count."""
        return shutil.disk_usage(self._path).free

    def _place(self, relative: str) -> tuple[Folder, str]:
        """Return the folder of a picture, and its name there.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: the path is not a picture's.
        """
        match relative.split("/"):
            case [top, date, name] if top == _CAPTURES and not {"", ".", ".."} & {date, name}:
                return self._folders[_CAPTURES].folder(date), name
        raise ValueError(f"path {relative!r} does not lead to a picture of the store")

    def _remove_if_empty(self, relative: str) -> None:
        """Remove the dated folder of what was a picture, with nothing in it."""
        with self._lock:
            self._folders[_CAPTURES].remove_if_empty(PurePosixPath(relative).parts[1])
