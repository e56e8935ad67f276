"""The initial RAM disk: BusyBox, kernel modules, and `init`, which mounts the host's root.

The guest sees all that the host has, the same Python and virtual environment too, and writes into
its own memory only.
"""

import stat
from pathlib import Path

from tests.rigs.v4l2 import packages

_MODULES = (
    *("virtio_pci", "virtio_console", "9p", "9pnet_virtio", "overlay"),
    *("uvcvideo", "vhci-hcd"),
)

_INIT = """#!/bin/busybox sh
set -e
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do busybox insmod "$module"; done
busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 root /host
busybox mount -t tmpfs tmpfs /own
busybox mkdir /own/upper /own/work
busybox mount -t overlay -o lowerdir=/host,upperdir=/own/upper,workdir=/own/work overlay /root
for folder in proc sys dev; do busybox mount --move "/$folder" "/root/$folder"; done
exec busybox switch_root /root {busybox} sh {script}
"""


def make(root: Path, script: Path) -> bytes:
    """Return a RAM disk that ends in running `script` on the host's root. `root`: the packages."""
    busybox = root / "bin/busybox"
    archive = _Archive()
    for folder in ("bin", "dev", "host", "modules", "own", "proc", "root", "sys"):
        archive.add(folder, b"", stat.S_IFDIR | 0o755)
    archive.add("bin/busybox", busybox.read_bytes(), stat.S_IFREG | 0o755)
    archive.add("init", _INIT.format(busybox=busybox, script=script).encode(), stat.S_IFREG | 0o755)
    for number, (name, data) in enumerate(packages.modules(root, *_MODULES)):
        archive.add(f"modules/{number:02}-{name}.ko", data, stat.S_IFREG | 0o644)
    archive.add("TRAILER!!!", b"", 0)
    return bytes(archive.data)


class _Archive:
    """A cpio archive in the form that the kernel reads ("newc")."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._inode = 0

    def add(self, name: str, content: bytes, mode: int) -> None:
        self._inode += 1
        path = name.encode() + b"\0"
        # inode, mode, owner, group, links, time, size, four device numbers, name's length, checksum
        fields = (self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
        self.data += b"070701" + b"".join(b"%08X" % field for field in fields) + path
        self._pad()
        self.data += content
        self._pad()

    def _pad(self) -> None:
        self.data += bytes(-len(self.data) % 4)
