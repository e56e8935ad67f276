"""Landlock: Linux's way for a process to give up rights, for itself and all that it starts.

Since Linux 5.13, where the kernel is built and booted with it; each version of its interface can do
more (landlock(7)). No privilege is needed. What is not named here stays allowed: listing folders,
running programs, asking devices (ioctl), connecting. It knows nothing of a file's mode and owner.
"""

import contextlib
import ctypes
import errno
import functools
import os
import struct
import sys
from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""The same on every processor that Python runs on."""
_VERSION = 1
_PATH_BENEATH = 1

_WRITE_FILE, READ, _REMOVE_DIR, _REMOVE_FILE = 1 << 1, 1 << 2, 1 << 4, 1 << 5
_MAKE = sum(1 << bit for bit in range(6, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_BIND_TCP = 1
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2
_OF_A_FILE = _WRITE_FILE | READ | _TRUNCATE

CHANGE = _WRITE_FILE | _TRUNCATE
"""To write what is there already."""
WRITE = CHANGE | _REMOVE_DIR | _REMOVE_FILE | _MAKE | _REFER

FILES, REFER, TRUNCATE, TCP, SCOPES = 1, 2, 3, 4, 6
"""The version that each came with."""


def version() -> int:
    """Return the version of the kernel's interface; 0: there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION))


class Rules:
    """What stays allowed of what `enforce` forbids."""

    def __init__(self) -> None:
        """Begin with no file allowed.

        Raises:
            OSError: the kernel has no Landlock.
        """
        self._version = version()
        if not self._version:
            raise OSError(errno.ENOSYS, "the system has no Landlock")
        files = READ | WRITE
        for since, right in ((REFER, _REFER), (TRUNCATE, _TRUNCATE)):
            if self._version < since:
                files &= ~right
        self._files = files
        bind = _BIND_TCP if self._version >= TCP else 0
        scopes = _ABSTRACT_SOCKETS | _SIGNALS if self._version >= SCOPES else 0
        attributes = struct.pack("=QQQ", files, bind, scopes)
        self._fd = _checked(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)

    def allow(self, paths: Iterable[str], rights: int) -> None:
        """Allow it for files, and for all that folders have and will have in them.

        What is not there, or cannot be reached, is left out.
        """
        for path in paths:
            with contextlib.suppress(OSError):
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
                try:
                    of = rights if os.path.isdir(path) else rights & _OF_A_FILE
                    rule = struct.pack("=Qi", of & self._files, fd)
                    _checked(_ADD_RULE, self._fd, _PATH_BENEATH, rule, 0)
                finally:
                    os.close(fd)

    def enforce(self) -> None:
        """Restrict this thread and what it starts from now on: call it while there is no other.

        No TCP port can be served then, and no signal, abstract socket or tracing reaches processes
        outside. Raises OSError.
        """
        try:
            _checked(_RESTRICT_SELF, self._fd, 0)
        finally:
            os.close(self._fd)


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _syscall(number: int, *arguments: object) -> int:
    result: int = _library().syscall(number, *arguments)
    return result


def _checked(number: int, *arguments: object) -> int:
    result = _syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
