"""Which programs hold a device, as far as Linux and this user's rights show."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from camsvc.model.errors import DeviceInUse
from camsvc.model.values import Finding

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Program:
    """A running program."""

    name: str
    pid: int

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def holders(path: str | Path, proc: Path = _PROC) -> list[Program]:
    """Return the other programs that hold a device's node, as far as they can be seen.

    From within a sandbox none can.
    """
    wanted = os.path.realpath(path)
    found = []
    entries = proc.iterdir() if proc.is_dir() else ()
    for process in (entry for entry in entries if entry.name.isdigit()):
        # A process may end meanwhile, or be another user's.
        with contextlib.suppress(OSError):
            if int(process.name) != os.getpid() and any(
                os.path.realpath(fd) == wanted for fd in (process / "fd").iterdir()
            ):
                name = (process / "comm").read_text(errors="replace").strip()
                found.append(Program(name, int(process.name)))
    return found


def in_use(programs: Sequence[Program]) -> DeviceInUse:
    """Return the error of a device that other programs hold; who they are is known, or not."""
    names = ", ".join(sorted({program.name for program in programs}))
    which = f"{names} has it" if names else "`camsvc doctor` says which"
    return DeviceInUse(f"another program uses the camera, and only one can: {which}")


def holding(path: str | Path) -> list[Finding]:
    """Return what is wrong where other programs hold a node; nothing where none does."""
    held = ", ".join(map(str, holders(path)))
    advice = "Only one program can use a camera: end the other, or configure another one."
    return [Finding(False, f"held by {held}", advice)] if held else []
