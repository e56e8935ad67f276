"""What the kernel has said of a USB device, where this user may read it."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from camsvc.model.values import Finding

_LOG = Path("/dev/kmsg")
_RECORD_BYTES = 8192


def findings(address: str, last: int = 5) -> list[Finding]:
    """Return the last lines about the device at a USB address such as "1-1.4", for the doctor.

    They begin with the time since the system's start, in seconds.
    """
    mine = re.compile(rf"\b{re.escape(address)}(:\d+\.\d+)?: ")
    try:
        said = [line for line in _lines() if mine.search(line)][-last:]
    except OSError:  # not Linux, or not allowed
        return [Finding(True, "this user may not read the kernel's log: sudo dmesg shows it")]
    return [Finding(True, f"the kernel said: {line}") for line in said]


def _lines() -> Iterator[str]:
    fd = os.open(_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # the end of what there is
            while True:
                with contextlib.suppress(BrokenPipeError):  # overwritten meanwhile: the next one
                    record = os.read(fd, _RECORD_BYTES).decode(errors="replace")
                    head, _, text = record.partition(";")
                    microseconds = int(head.split(",")[2])
                    yield f"[{microseconds / 1e6:.1f}] {text.splitlines()[0]}"
    finally:
        os.close(fd)
