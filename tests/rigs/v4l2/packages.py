"""What the rig is made of: QEMU, a kernel, udev and BusyBox, as Debian packages.

They are downloaded by apt-get and unpacked into a folder; nothing is installed on the system.
"""

import lzma
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.rigs.running import RigMissing, run, update_apt

_XZ = b"\xfd7zXZ\x00"
_ELF = b"\x7fELF"
_STAMP = "unpacked"


def unpacked(folder: Path) -> Path:
    """Return the folder where all is unpacked; the first time it is downloaded, some 95 MB.

    Raises:
        RigMissing: it is not to be had here.
    """
    root = folder / "root"
    if (folder / _STAMP).exists():
        return root
    if os.uname().machine != "x86_64" or not shutil.which("apt-get"):
        raise RigMissing("it needs Debian on x86-64, to download Debian's kernel and QEMU")
    downloads = folder / "packages"
    for left_over in (root, downloads):  # of a first time that was broken off
        shutil.rmtree(left_over, ignore_errors=True)
    downloads.mkdir(parents=True)
    try:
        names = list(_chosen())
        run("apt-get", "download", "-qq", *names, cwd=downloads)
    except RigMissing:  # what apt knows is old, or nothing
        update_apt()
        run("apt-get", "download", "-qq", *_chosen(), cwd=downloads)
    for package in sorted(downloads.iterdir()):
        run("dpkg-deb", "-x", str(package), str(root))
    shutil.rmtree(downloads)
    (folder / _STAMP).touch()
    return root


def _chosen() -> Iterator[str]:
    """Yield the packages wanted, and what of their dependencies this system lacks."""
    kernel = re.search(
        r"Depends: (linux-image-[\w.+-]+)", run("apt-cache", "depends", "linux-image-amd64")
    )
    if kernel is None:
        raise RigMissing("apt-get does not have linux-image-amd64: it needs Debian's packages")
    wanted = {kernel[1], "busybox-static", "udev", "qemu-system-x86"}
    simulated = run(
        *("apt-get", "install", "--simulate", "--no-install-recommends"),
        *("qemu-system-x86", "udev"),
    )
    yield from sorted(wanted | set(re.findall(r"^Inst (\S+)", simulated, re.MULTILINE)))


def kernel(root: Path) -> bytes:
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
