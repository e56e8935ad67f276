"""System calls that the kernel refuses a process from now on, and all that it starts (seccomp(2)).

Those that Landlock knows nothing of: changing the mode, the owner and the access list of a file;
and leaving the process group, by which the service ends what a worker has started.
"""

import ctypes
import errno
import os
import struct
import sys
from typing import NamedTuple

_SET_MODE_FILTER, _SPEC_ALLOW = 1, 4
"""The second: not to slow the whole process down on Linux before 5.16."""
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_X32 = 0x40000000
"""From here on, the numbers of another way to call on x86-64, which nobody uses."""


class _Calls(NamedTuple):
    """The numbers of a kind of processor."""

    architecture: int
    seccomp: int
    refused: tuple[int, ...]
    """setpgid and setsid; those of chmod; of chown; of setxattr."""


_X86_64 = _Calls(
    0xC000003E,
    317,
    (109, 112, *(90, 91, 268, 452), *(92, 93, 94, 260), *(188, 189, 190, 463)),
)
_ARM = _Calls(
    0x40000028,
    383,
    (57, 66, *(15, 94, 333, 452), *(16, 95, 182, 198, 207, 212, 325), *(226, 227, 228, 463)),
)
_GENERIC = (154, 157, *(52, 53, 452), *(54, 55), *(5, 6, 7, 463))
_KNOWN = {
    ("x86_64", 64): _X86_64,
    ("aarch64", 64): _Calls(0xC00000B7, 277, _GENERIC),
    ("riscv64", 64): _Calls(0xC00000F3, 277, _GENERIC),
    # 32 bits on a kernel of 64 bits, as Raspberry Pi OS has, too.
    **{(machine, 32): _ARM for machine in ("aarch64", "armv6l", "armv7l", "armv8l")},
}


def refuse_calls() -> bool:
    """Have these calls fail by EPERM; return whether the system can.

    Nothing of this process can be let off it, nor what it starts; it must have given up privileges.
    """
    if sys.platform != "linux":
        return False
    calls = _KNOWN.get((os.uname().machine, 8 * struct.calcsize("P")))
    if calls is None:
        return False
    program = _program(calls)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None)
    return bool(libc.syscall(calls.seccomp, _SET_MODE_FILTER, _SPEC_ALLOW, header) == 0)


def _program(calls: _Calls) -> bytes:
    """Return the filter: a program of the kernel's small machine that looks at each call."""
    count = len(calls.refused)
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 0, count + 3, calls.architecture),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, count + 1, 0, _X32),
        *((_EQUAL, count - place, 0, number) for place, number in enumerate(calls.refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
