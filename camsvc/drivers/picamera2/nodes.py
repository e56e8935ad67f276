"""The kernel's devices behind camera modules: what this user may not open, and who uses them."""

import contextlib
import os
from pathlib import Path

from camsvc.drivers.linux.holders import Program
from camsvc.model.values import Finding

_DEV, _PROC = Path("/dev"), Path("/proc")


def forbidden(dev: Path = _DEV) -> list[Finding]:
    """Return what is wrong where this user may not open what libcamera needs."""
    nodes = [*dev.glob("media*"), *dev.glob("video*")]
    shut = sorted(node.name for node in nodes if not _may_open(node))
    heaps = list(dev.glob("dma_heap/*"))
    if heaps and not any(map(_may_open, heaps)):  # of these one is enough
        shut.append("dma_heap")
    advice = "Add the service's user to the group `video`, and restart the service."
    return [Finding(False, f"not allowed to open: {', '.join(shut)}", advice)] if shut else []


def in_use(alone: bool, dev: Path = _DEV, proc: Path = _PROC) -> list[Finding]:
    """Return which programs have a camera open; where it is `alone`, it is that one.

    libcamera locks the media devices of an open camera. Others, such as PipeWire, hold them open
    all the time without using the camera. Which node belongs to which camera is not known here.
    """
    wanted = {_locked_as(node) for node in dev.glob("media*")}
    pids = set()
    with contextlib.suppress(OSError):  # a system without them
        for line in (proc / "locks").read_text().splitlines():
            fields = line.split()  # 1: POSIX ADVISORY WRITE <pid> <major>:<minor>:<inode> 0 EOF
            if fields[1] != "->" and fields[5] in wanted:  # an arrow: it waits for the lock
                pids.add(int(fields[4]))
    users = ", ".join(str(Program(_name(pid, proc), pid)) for pid in sorted(pids - {os.getpid()}))
    advice = "Only one program can use a camera: end the other, or configure another one."
    which = "the camera" if alone else "a camera, this one or another,"
    return [Finding(not alone, f"{which} is held by {users}", advice)] if users else []


def _may_open(node: Path) -> bool:
    return os.access(node, os.R_OK | os.W_OK)


def _locked_as(node: Path) -> str:
    about = node.stat()
    device = about.st_dev
    return f"{os.major(device):02x}:{os.minor(device):02x}:{about.st_ino}"


def _name(pid: int, proc: Path) -> str:
    with contextlib.suppress(OSError):  # it may have ended, or be another container's
        return (proc / str(pid) / "comm").read_text(errors="replace").strip()
    return "a program"
