"""Privileges that a process can give up for good: those of root, and those that programs bring."""

import ctypes
import struct
import sys

_PR_SET_NO_NEW_PRIVS = 38
_VERSION = 0x20080522
"""Of the kernel's interface: 64 capabilities, in two halves."""

_KEPT = (
    1,  # CAP_DAC_OVERRIDE: to open devices of other users
    13,  # CAP_NET_RAW, for drivers of industrial cameras
    14,  # CAP_IPC_LOCK: memory that is not swapped
    23,  # CAP_SYS_NICE: to run at a priority that loses no frame
    34,  # CAP_SYSLOG: the kernel's log says why a device is gone
)


def give_up_privileges() -> None:
    """Keep of root's capabilities those for devices, and get none by any program. Linux only.

    The others would let a worker that runs as root look into other processes, raise its limits
    again, or change the kernel.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = struct.pack("=Ii", _VERSION, 0)
    sets = ctypes.create_string_buffer(24)
    if libc.capget(header, sets) == 0:
        kept = sum(1 << number for number in _KEPT)
        halves = (kept & 0xFFFFFFFF, kept >> 32)
        masks = [mask for mask in halves for _ in ("effective", "permitted", "inheritable")]
        has = struct.unpack("=6I", sets.raw)
        libc.capset(header, struct.pack("=6I", *(a & b for a, b in zip(has, masks, strict=True))))
