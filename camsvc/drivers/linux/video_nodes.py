"""What Linux knows of its video devices: names, stable addresses, which of them can capture.

Only the standard library is used, and no device is set up or streamed from: sysfs is read, and a
node is asked for its capabilities, or to give up the buffers that it does not have.
"""

import errno
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SYSFS = Path("/sys/class/video4linux")
_DEV = Path("/dev")

# From <linux/videodev2.h>: VIDIOC_QUERYCAP is _IOR('V', 0, struct v4l2_capability), whose end is
# the version, the capabilities of the whole device, those of the node, and reserved words.
_QUERYCAP = 0x80685600
_REQBUFS = 0xC0145608
"""VIDIOC_REQBUFS is _IOWR('V', 8, struct v4l2_requestbuffers): how many, of which kind, in which
memory, and three words more. None are asked for, which is refused to all but who has some."""
_NO_BUFFERS = struct.pack("5I", 0, 1, 1, 0, 0)  # VIDEO_CAPTURE, MMAP
_CAPABILITY = struct.Struct("16s32s32sIII12x")
_CAP_CAPTURE = 0x1 | 0x1000  # VIDEO_CAPTURE, VIDEO_CAPTURE_MPLANE
_CAP_DEVICE_CAPS = 0x80000000


@dataclass(frozen=True, slots=True)
class Node:
    """A video device. `address` is stable over plugging order where the system has such a name."""

    path: str
    address: str
    name: str
    serial: str = ""


def nodes(sysfs: Path = _SYSFS, dev: Path = _DEV) -> list[Node]:
    """Return the devices that can capture, by number; none where there is no V4L2."""
    if not sysfs.is_dir():
        return []
    names = sorted(
        (entry.name for entry in sysfs.iterdir() if entry.name.startswith("video")),
        key=lambda name: (len(name), name),
    )
    stable = dict(_stable_links(dev / "v4l"))
    return [
        Node(
            path=str(dev / name),
            address=stable.get(name, str(dev / name)),
            name=_text(sysfs / name / "name") or name,
            serial=_serial(sysfs / name),
        )
        for name in names
        if _can_capture(dev / name, sysfs / name)
    ]


def find(source: int | str, sysfs: Path = _SYSFS, dev: Path = _DEV) -> Node | None:
    """Return the node of an index or a path, without asking it anything; None if gone."""
    path = device_path(source, dev)
    real = Path(os.path.realpath(path))
    if not real.exists():
        return None
    known = sysfs / real.name
    return Node(str(real), str(path), _text(known / "name") or real.name, _serial(known))


def device_path(source: int | str, dev: Path = _DEV) -> Path:
    """Return the path of the device node of an index or a path."""
    return dev / f"video{source}" if isinstance(source, int) else Path(source)


def interface(node: Node) -> Path:
    """Return the system's folder of a node's interface: a device may have several nodes of one."""
    return Path(os.path.realpath(_SYSFS / Path(node.path).name / "device"))


def usb_address(node: Node) -> str:
    """Return where on the USB a node's device is, such as "1-1.4"; "" if it is elsewhere."""
    device = interface(node).parent
    return device.name if (device / "busnum").exists() else ""


def can_capture(capability: bytes) -> bool:
    """Whether a `struct v4l2_capability` is that of a node that captures pictures.

    A webcam has a second node of the same name, for metadata, that captures none.
    """
    *_, device, node = _CAPABILITY.unpack(capability)
    return bool((node if device & _CAP_DEVICE_CAPS else device) & _CAP_CAPTURE)


def is_taken(path: Path) -> bool:
    """Whether another program streams from a node."""
    if sys.platform != "linux":
        return False
    import fcntl  # noqa: PLC0415 - Unix only

    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, _REQBUFS, bytearray(_NO_BUFFERS))
        finally:
            os.close(fd)
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _can_capture(path: Path, known: Path) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl  # noqa: PLC0415 - Unix only

    capability = bytearray(_CAPABILITY.size)
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, _QUERYCAP, capability)
        finally:
            os.close(fd)
    except FileNotFoundError:
        return False
    except OSError:
        # Not ours to open, or in exclusive use: its owner still wants to see it. The capturing
        # node of a device is its first.
        return _text(known / "index") in ("", "0")
    return can_capture(bytes(capability))


def _stable_links(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (node name, link); later ones win: by the camera's identity rather than its socket."""
    for kind in ("by-path", "by-id"):
        if (folder / kind).is_dir():
            for link in sorted((folder / kind).iterdir(), reverse=True):
                yield Path(os.path.realpath(link)).name, str(link)


def _serial(known: Path) -> str:
    """Return the serial number of the USB device, the parent of the interface; "" without one."""
    return _text(Path(os.path.realpath(known / "device")).parent / "serial")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
