"""The virtual machine: QEMU without any acceleration, since KVM is seldom available."""

import contextlib
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rigs.running import RigMissing
from tests.rigs.v4l2 import initramfs, packages

_MEMORY_MB = 2048
_END_S = 10.0

PORT = "/run/rig"
"""Where the guest's program writes lines for the host."""

_BOOTED = "booted\n"
"""The first line, by `inside.sh`."""

_FOLDER = Path(__file__).parent


OWN_CLOCK = ("-accel", "tcg,thread=single", "-icount", "shift=0,align=off,sleep=on", "-smp", "1")
"""The guest's time goes by the instructions that it executes, a nanosecond for each, and by the
host's clock only while it waits: what is promised in seconds holds however busy the host is. With
two processors it does not boot then."""

HOST_CLOCK = ("-accel", "tcg,thread=multi", "-smp", "2")
"""The guest's time is the host's."""


class Guest:
    """A guest that runs a command and ends. Use as `with`; `lines` gives what it writes to `PORT`.

    Raises `RigMissing` where it cannot be had.
    """

    def __init__(
        self,
        own: Path,
        command: Sequence[str],
        *,
        folder: Path,
        env: Mapping[str, str],
        silence_s: float,
        clock: Sequence[str] = OWN_CLOCK,
    ) -> None:
        """`own` is an empty folder for this guest; `silence_s` is the longest wait for a line.

        `clock` is one of the two above.
        `command` is run in `folder`, with `env` and nothing else in its environment.
        """
        self._own = own
        self._log = own / "console.log"
        variables = [f"export {name}={shlex.quote(value)}" for name, value in env.items()]
        go_there = f"cd {shlex.quote(str(folder))}"
        self._script = "\n".join([*variables, go_there, f"exec {shlex.join(command)}", ""])
        self._silence_s = silence_s
        self._clock = clock

    @property
    def console(self) -> str:
        """What the kernel, the programs and QEMU have said."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        rig = packages.unpacked()
        root = rig / "root"
        run = self._own / "run.sh"
        run.write_text(self._script)
        disk = self._own / "initramfs"
        disk.write_bytes(initramfs.make(root, _FOLDER / "inside.sh"))
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(self._silence_s)
        qemu = root / "usr/bin/qemu-system-x86_64"
        folders = ("usr/share/qemu", "usr/share/seabios")
        libraries = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
        with theirs, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    # The host's own programs come first: it is they who are measured elsewhere.
                    *("nice", "-n", "19", str(qemu)),
                    *(part for folder in folders for part in ("-L", str(root / folder))),
                    *("-machine", "q35", *self._clock),
                    # Fewer features than "max", and faster: less of OpenCV's code is emulated.
                    *("-cpu", "Nehalem", "-m", str(_MEMORY_MB)),
                    *("-nodefaults", "-nic", "none", "-vga", "none", "-display", "none"),
                    *("-no-reboot", "-serial", "stdio"),
                    *("-kernel", str(rig / "kernel"), "-initrd", str(disk)),
                    *("-append", self._arguments(root, run)),
                    *(
                        "-fsdev",
                        "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
                    ),
                    *("-device", "virtio-9p-pci,fsdev=root,mount_tag=root"),
                    *("-device", "virtio-serial-pci"),
                    *("-chardev", f"socket,id=rig,fd={theirs.fileno()}"),
                    *("-device", "virtserialport,chardev=rig,name=rig"),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,  # kept open: at its end, the console is read in a busy loop
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "LD_LIBRARY_PATH": ":".join(str(root / folder) for folder in libraries),
                },
            )
        return self

    @staticmethod
    def _arguments(root: Path, run: Path) -> str:
        return " ".join(
            [
                "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr",
                # Else two cameras' first opens fail with EBUSY.
                "usbcore.autosuspend=-1",
                f"rig_root={root} rig_run={run}",
            ]
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if kind is None:
                self._process.wait(_END_S)
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def lines(self) -> Iterator[str]:
        """Yield the lines that the guest's program writes, until the guest ends.

        Raises:
            RigMissing: it does not start.
            TimeoutError: it has said nothing for too long.
        """
        with self._socket.makefile(encoding="utf-8") as lines:
            if next(lines, "") != _BOOTED:
                last = (self.console.strip().splitlines() or ["nothing"])[-1]
                raise RigMissing(f"the virtual machine does not start; its last words: {last}")
            yield from lines
