"""The data folder before it is used: whose it is, who may write there, and what its places have.

Invariant: once `secure` has returned, nobody but the service's user and root can put a file, or a
link to one, where the service writes; and others than its user and its group read none of it.

Where a place has what somebody else could have put there, nothing is followed, changed or used.
"""

import contextlib
import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from camsvc.model.printable import printable
from camsvc.model.values import Finding
from camsvc.system import posix, posix_access

STAGING, CAPTURES, ORPHANS, LOCK, JOURNAL = (
    *("staging", "captures", "orphans"),
    *("lock", "journal.sqlite3"),
)
_FOLDERS = (STAGING, CAPTURES, ORPHANS)
_FILES = (LOCK, *(f"{JOURNAL}{end}" for end in ("", "-wal", "-shm", ".copy")))
_MODE, _ROOT = 0o700, 0

_log = structlog.get_logger()


class UnsafeFolder(Exception):
    """Others could change what the data folder has; the text says which path, and what to do."""


def secure(folder: Path) -> None:
    """Make a data folder where it is missing, and private where it is not.

    Raises:
        UnsafeFolder: it cannot be trusted, and only a person can change that.
        OSError: it cannot be made or looked at.
    """
    if not folder.exists():
        folder.mkdir(_MODE, parents=True, exist_ok=True)
        posix.sync_folder(folder.parent)
    for place in _places(folder):  # before anything of a folder that is refused is changed
        if (problem := place.problem()) and not problem.ok:
            raise UnsafeFolder(f"{problem.text}: {problem.advice}")
    for place in _places(folder):
        place.make_private()
        if problem := place.problem():
            raise UnsafeFolder(f"{problem.text}: {problem.advice}")


def findings(folder: Path) -> list[Finding]:
    """Return what `secure` would refuse or change in a folder; nothing is changed."""
    try:
        found = [place.problem() for place in _places(folder)] if folder.exists() else []
    except OSError as error:
        text = f"{folder} cannot be examined by {posix_access.user()}: {posix.reason(error)}"
        return [Finding(False, printable(text), "run this as the user of the service")]
    return [finding for finding in found if finding]


def _places(folder: Path) -> Iterator["_Place"]:
    """Yield what there is in a data folder, itself first: what follows is in a private one then."""
    # It may be named by a link: that is the operator's.
    owner = posix_access.owner_of_new_files(folder)
    yield _Place(folder, folder.stat(), owner, is_folder=True, trusted={owner, _ROOT})
    for name in (*_FOLDERS, *_FILES):
        path = folder / name
        if os.path.lexists(path):
            yield _Place(path, path.lstat(), owner, is_folder=name in _FOLDERS, trusted={owner})
    captures = folder / CAPTURES
    for date in captures.iterdir() if captures.is_dir() and not captures.is_symlink() else ():
        if date.is_symlink():
            yield _Place(date, date.lstat(), owner, is_folder=True, trusted={owner})


@dataclass(slots=True)
class _Place:
    """A file or a folder of the service's."""

    path: Path
    info: os.stat_result
    """Not that of what a link leads to."""
    owner: int
    """Whose the service's files are here."""
    is_folder: bool
    """What it has to be."""
    trusted: set[int]
    """Whose it may be."""

    def make_private(self) -> None:
        """Take from others what is ours to take; what a file system has no modes for stays."""
        mode, now = posix_access.private_mode(self.info), stat.S_IMODE(self.info.st_mode)
        if mode == now or self.info.st_uid != self.owner or not self._is_what_it_has_to_be():
            return
        with contextlib.suppress(PermissionError):
            self.path.chmod(mode)
            self.info = self.path.stat()
            _log.warning("made private", path=str(self.path), was=f"{now:04o}", now=f"{mode:04o}")

    def problem(self) -> Finding | None:
        """Return why it cannot be used as it is, and the command that changes that; None: it can.

        One that is in order but for its mode, which `make_private` changes, is a good finding.
        """
        info, path = self.info, shlex.quote(str(self.path))
        mode, me = posix_access.private_mode(info), posix_access.name_of(self.owner)
        can_be_changed = False
        if stat.S_ISLNK(info.st_mode):
            target = shlex.quote(os.readlink(self.path))
            text = f"{path} is a link to {target}, and links are not followed here"
            advice = f"rm {path}; where {target} has what belongs there: mv {target} {path}"
        elif not self._is_what_it_has_to_be():
            kind = "folder" if self.is_folder else "file with no other name"
            text = f"{path} is not a plain {kind}"
            advice = f"mv {path} {shlex.quote(f'{self.path}.old')}"
        elif info.st_uid not in self.trusted:
            owner = posix_access.name_of(info.st_uid)
            text = f"{path} belongs to the user {owner}, and the service runs as {me}"
            advice = f"chown -R {me} {path}"
        elif posix_access.others_may_write(info, self.owner):
            can_be_changed = info.st_uid == self.owner
            text = f"others may write in {path} (mode {stat.S_IMODE(info.st_mode):04o})"
            advice = f"{'' if can_be_changed else f'chown {me} {path} && '}chmod {mode:04o} {path}"
        else:
            return None
        return Finding(can_be_changed, printable(text), printable(advice))

    def _is_what_it_has_to_be(self) -> bool:
        if self.is_folder:
            return stat.S_ISDIR(self.info.st_mode)
        return stat.S_ISREG(self.info.st_mode) and self.info.st_nlink == 1
