"""A folder held open: a name in it leads to what the folder has, and nowhere else.

Names are looked up in the folder itself, wherever it is moved to and whatever is put in its place.
No link is followed, and nothing waits for the other end of a FIFO: what is not a regular file, or
not a folder, counts as not there. All methods block, may be called from any thread, and raise
OSError.
"""

import contextlib
import errno
import io
import os
import shutil
import stat
from collections.abc import Callable
from typing import Self

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_MODE = 0o640
_FOLDER_MODE = 0o750


class Folder:
    """One folder. Its descriptor is closed with the last reference to this."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> Self:
        """Open the folder that a path leads to."""
        return cls(os.open(path, _FOLDER))

    def is_at(self, path: str | os.PathLike[str]) -> bool:
        """Whether a path still leads to it."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.stat(path), os.fstat(self.fd))
        return False

    def has(self, name: str, folder: "Folder") -> bool:
        """Whether a folder is in it by that name."""
        found = self._stat(name)
        return found is not None and os.path.samestat(found, os.fstat(folder.fd))

    def is_link(self, name: str) -> bool:
        """Whether a name in it is a symbolic link."""
        found = self._stat(name)
        return found is not None and stat.S_ISLNK(found.st_mode)

    def folder(self, name: str) -> "Folder":
        """Return a folder in it. Raises FileNotFoundError where there is none."""
        found = self._stat(name)
        if found is None or not stat.S_ISDIR(found.st_mode):
            raise _missing(name)
        return Folder(os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self.fd))

    def make_folder(self, name: str) -> bool:
        """Make a folder in it, where none is; return whether it is new."""
        try:
            os.mkdir(name, _FOLDER_MODE, dir_fd=self.fd)
        except FileExistsError:
            return False
        return True

    def create(self, name: str) -> io.FileIO:
        """Return a new file, open for writing. Raises FileExistsError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(name, flags, _FILE_MODE, dir_fd=self.fd), "wb", buffering=0)

    def open(self, name: str) -> io.FileIO:
        """Return a file, open for reading. Raises FileNotFoundError where there is none."""
        if self.size(name) is None:
            raise _missing(name)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.fdopen(os.open(name, flags, dir_fd=self.fd), "rb", buffering=0)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it has just come there
            file.close()
            raise _missing(name)
        return file

    def size(self, name: str) -> int | None:
        """Return the bytes of a file; None where there is none."""
        found = self._stat(name)
        return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None

    def leads_to(self, name: str, file: io.FileIO) -> bool:
        """Whether a name is that of an open file, its only one. Raises FileNotFoundError."""
        found, ours = self._stat(name), os.fstat(file.fileno())
        if found is None:
            raise _missing(name)
        return os.path.samestat(found, ours) and ours.st_nlink == 1

    def names(self) -> list[str]:
        """Return the names of all that is in it."""
        return self._listed(lambda _: True)

    def files(self) -> list[str]:
        """Return the names of the files in it."""
        return self._listed(lambda entry: entry.is_file(follow_symlinks=False))

    def folders(self) -> list[str]:
        """Return the names of the folders in it."""
        return self._listed(lambda entry: entry.is_dir(follow_symlinks=False))

    def _listed(self, wanted: "Callable[[os.DirEntry[str]], bool]") -> list[str]:
        # Not by the descriptor that is held: threads would share how far it has been read.
        fd = os.open(".", _FOLDER, dir_fd=self.fd)
        try:
            with os.scandir(fd) as found:
                return [entry.name for entry in found if wanted(entry)]
        finally:
            os.close(fd)

    def move(self, name: str, to: "Folder", new_name: str) -> None:
        """Move what a name leads to, a link itself, to another folder of the same disk."""
        os.rename(name, new_name, src_dir_fd=self.fd, dst_dir_fd=to.fd)

    def remove(self, name: str) -> None:
        """Remove what a name leads to, whatever it is, a link itself; it may be missing."""
        found = self._stat(name)
        if found is not None and stat.S_ISDIR(found.st_mode):
            shutil.rmtree(name, dir_fd=self.fd)
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def remove_if_empty(self, name: str) -> None:
        """Remove a folder with nothing in it; one that cannot be removed stays."""
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=self.fd)

    def sync(self) -> None:
        """Make the names in it last: what was moved into it is there after a power cut."""
        os.fsync(self.fd)

    def _stat(self, name: str) -> os.stat_result | None:
        with contextlib.suppress(FileNotFoundError):
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        return None


def _missing(name: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
