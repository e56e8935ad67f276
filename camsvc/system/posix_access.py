"""Who may touch a file: owners, modes, links, and the lock. A part of the seam; see `posix.py`."""

import contextlib
import errno
import fcntl
import os
import pwd
import stat
import tempfile
from pathlib import Path

_ALL_OF_OTHERS, _GROUP_READS = 0o007, 0o750
_OTHERS_WRITE, _GROUP_WRITES = 0o002, 0o020
_FOLDER, _FILE = 0o700, 0o600


def user() -> str:
    """Return the name of the user that this process runs as."""
    return name_of(os.geteuid())


def name_of(uid: int) -> str:
    """Return a user's name; the number of one that has none here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def owner_of_new_files(folder: Path) -> int:
    """Return whose a file is that this process makes in a folder.

    Its user's, but where the file system says otherwise: NFS with `root_squash`, a disk of Windows.
    """
    uid = os.geteuid()
    if folder.stat().st_uid == uid:
        return uid
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_uid
    except OSError:  # it is full, or not ours to write in
        return uid


def private_mode(info: os.stat_result) -> int:
    """Return the mode of a file or folder that others than its owner may not change.

    A folder's group goes on reading where that alone was let in; a file is its owner's.
    """
    mode = stat.S_IMODE(info.st_mode)
    if not stat.S_ISDIR(info.st_mode):
        return _FILE
    inherits = mode & stat.S_ISGID
    return inherits | (_FOLDER if mode & _ALL_OF_OTHERS else _FOLDER | mode & _GROUP_READS)


def others_may_write(info: os.stat_result, owner: int) -> bool:
    """Whether somebody else than `owner` may write, root left aside.

    A group that root has given a folder to, as Kubernetes' `fsGroup`, is the service's own.
    """
    by_our_group = info.st_uid != owner and info.st_gid in {os.getegid(), *os.getgroups()}
    group_writes = bool(info.st_mode & _GROUP_WRITES) and not by_our_group
    return group_writes or bool(info.st_mode & _OTHERS_WRITE)


def make_private_file(path: Path) -> None:
    """Make an empty file for this user alone, whatever the umask, unless there is one.

    That one is not opened: closing a database's file would let go of SQLite's locks on it. Where
    none can be made, whoever opens it next says why.
    """
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _FILE)
        try:
            os.fchmod(fd, _FILE)
        finally:
            os.close(fd)


def lock_file(path: str | os.PathLike[str]) -> int | None:
    """Take the lock on a file, made when missing, and write this process's id into it.

    The lock is held until the descriptor that is returned is closed, or the process has ended.
    None when another process holds it. Raises OSError, also for a link and for what is no plain
    file of one name: what it leads to is not changed.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, _FILE)
    try:
        _require_plain(fd)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except BaseException as error:
        os.close(fd)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return fd


def _require_plain(fd: int) -> None:
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
        raise OSError(errno.EINVAL, "the lock is not a plain file of one name")
