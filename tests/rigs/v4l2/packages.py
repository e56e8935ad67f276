"""What the rig is made of: QEMU, a kernel, udev and BusyBox, as Debian packages.

They are downloaded by apt-get and unpacked into a folder; nothing is installed on the system. It
takes a quarter of a minute and 0.5 GB, once for each recipe (`tests/rigs/kept.py`).

    python -m tests.rigs.v4l2.packages
"""

import lzma
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.rigs import apt, kept
from tests.rigs.apt import Apt
from tests.rigs.running import RigMissing, run

_XZ = b"\xfd7zXZ\x00"
_ELF = b"\x7fELF"


def unpacked() -> Path:
    """Return the folder of the rig: `root`, where all is unpacked, and `kernel`.

    The first time, some 95 MB are downloaded.

    Raises:
        RigMissing: it cannot be had here.
    """
    if os.uname().machine != "x86_64" or not shutil.which("apt-get"):
        raise RigMissing("it needs Debian on x86-64, to download Debian's kernel and QEMU")
    # QEMU runs on the machine's own libraries, with those that it lacks.
    release = Path("/etc/os-release").read_text()
    libraries = run("dpkg-query", "--show", "--showformat", "${Package}\n", "lib*")
    return kept.rig("v4l2", (Path(__file__), Path(apt.__file__)), _make, facts=(release, libraries))


def _make(rig: Path) -> None:
    work, root = rig / "apt", rig / "root"
    debian = Apt(work)
    debian.fetch(*_chosen(debian))
    debian.unpack(root)
    (rig / "kernel").write_bytes(_kernel(root))
    shutil.rmtree(work)


def _chosen(debian: Apt) -> Iterator[str]:
    """Yield the packages wanted, and what of their dependencies this system lacks."""
    known = debian.ask("apt-cache", "depends", "linux-image-amd64")
    kernel = re.search(r"Depends: (linux-image-[\w.+-]+)", known)
    if kernel is None:
        raise RigMissing("apt-get does not have linux-image-amd64: it needs Debian's packages")
    wanted = {kernel[1], "busybox-static", "udev", "qemu-system-x86"}
    simulated = debian.ask("apt-get", "install", "--simulate", "qemu-system-x86", "udev")
    yield from sorted(wanted | set(re.findall(r"^Inst (\S+)", simulated, re.MULTILINE)))


def _kernel(root: Path) -> bytes:
    """Return the kernel uncompressed, as an ELF file, which boots faster under emulation."""
    (packed,) = (root / "boot").glob("vmlinuz-*")
    data = packed.read_bytes()
    at = data.find(_XZ)
    while at >= 0:
        unpacked = lzma.LZMADecompressor().decompress(data[at:])
        if unpacked.startswith(_ELF):
            return unpacked
        at = data.find(_XZ, at + 1)
    raise RigMissing("the kernel's package has another form than it used to have")


def modules(root: Path, *names: str) -> list[tuple[str, bytes]]:
    """Return kernel modules with those that they need, in the order in which they load."""
    files = {
        path.name.partition(".ko")[0].replace("-", "_"): path
        for path in (root / "lib/modules").rglob("*.ko*")
    }
    found: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in found or name not in files:  # else it is built into the kernel
            return
        data = files[name].read_bytes()
        data = lzma.decompress(data) if data.startswith(_XZ) else data
        needed = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in needed[1].decode().split(",") if needed else ():
            add(other.replace("-", "_"))
        found[name] = data

    for name in names:
        add(name.replace("-", "_"))
    return list(found.items())


if __name__ == "__main__":
    print(unpacked())
