"""Cameras on the USB, seen from outside: which are attached, which is selected, who holds it."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gphoto2 as gp

from camsvc.drivers.gphoto2.library import failures
from camsvc.drivers.linux import holders

_USB_DEVICES = Path("/sys/bus/usb/devices")
_USB_NODES = Path("/dev/bus/usb")


@dataclass(frozen=True, slots=True)
class Attached:
    """A camera on the USB. Its port changes with each plugging in; `serial` may be unknown."""

    model: str
    port: str
    serial: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What selects a camera; an empty value does not count."""

    model: str = ""
    serial: str = ""
    port: str = ""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Choice":
        """Return the choice that a camera's settings make."""
        return cls(*(settings[key] or "" for key in ("model", "serial", "port")))

    @property
    def given(self) -> dict[str, str]:
        """The keys of the settings that are not empty."""
        return {key: value for key, value in asdict(self).items() if value}

    def __str__(self) -> str:
        return ", ".join(f"{key} = {value!r}" for key, value in self.given.items()) or "any"


def attached() -> list[Attached]:
    """Return the cameras that are attached, without opening any."""
    with failures("looking for cameras"):
        found = gp.Camera.autodetect()
        named = [(found.get_name(i), found.get_value(i)) for i in range(found.count())]
    # It also lists what has the folders of a camera, such as a memory card that is mounted.
    usb = [(model, port) for model, port in named if port.startswith("usb:")]
    return [Attached(model, port, system_serial(port)) for model, port in usb]


def resolve(choice: Choice, cameras: list[Attached]) -> tuple[Attached | None, list[Attached]]:
    """Return the camera that is certainly selected; or None, and those that may be.

    A serial number of the USB confirms, and never excludes: many cameras have none there, or
    another one than they report when they are open.
    """
    model = choice.model.lower()
    fitting = [c for c in cameras if model in c.model.lower() and choice.port in ("", c.port)]
    exact = [c for c in fitting if not choice.serial or same_serial(choice.serial, c.serial)]
    return (exact[0], []) if len(exact) == 1 else (None, exact or fitting)


def missing(choice: Choice, cameras: list[Attached]) -> str:
    """Return what to do where no camera fits."""
    return (
        f"the camera of the settings ({choice}) is not attached: switch it on, plug it in, and set "
        f"its USB mode to PTP where it has one; attached: {listed(cameras) or 'none'}"
    )


def several(choice: Choice, cameras: list[Attached]) -> str:
    """Return what to do where several cameras fit, and opening them would not show which."""
    return (
        f"several cameras fit the settings ({choice}): {listed(cameras)}; select one by "
        "`serial`, which is printed on the body, or as `camsvc discover` prints it"
    )


def listed(cameras: list[Attached]) -> str:
    """Return what cameras these are, and where."""
    return ", ".join(f"{camera.model} at {camera.port}" for camera in cameras)


FORBIDDEN = (
    "the service's user may not use the camera: add it to the group `plugdev`, install "
    "libgphoto2's udev rules, which give cameras to that group (Debian: apt install libgphoto2-6), "
    "and plug the camera in again"
)


def forbidden(port: str) -> bool:
    """Whether this user may not use the camera at a port, which the library calls an I/O error."""
    node = _node(port)
    return node.exists() and not (node.is_dir() or os.access(node, os.R_OK | os.W_OK))


def users(port: str) -> list[holders.Program]:
    """Return the programs that have the camera at a port open."""
    return holders.holders(_node(port))


def _node(port: str) -> Path:
    """Return the device's node at a USB port, "usb:BUS,DEVICE" with three digits each."""
    return _USB_NODES / port.removeprefix("usb:").replace(",", "/")


def held(port: str) -> str:
    """Return what to do about a camera that another program has claimed."""
    names = ", ".join(map(str, users(port)))
    by = f": {names}" if names else ""
    return (
        f"another program has the camera{by}. A desktop opens cameras to show their pictures: end "
        "its part for that permanently (systemctl --user mask --now gvfs-gphoto2-volume-monitor, "
        "then pkill gvfsd-gphoto2), or the other program"
    )


def same_serial(one: str, other: str) -> bool:
    """Whether two serial numbers are: the USB's may be longer by zeros in front."""
    return one.lstrip("0").lower() == other.lstrip("0").lower()


def system_device(port: str) -> Path | None:
    """Return where the system describes the USB device at a port; None where it has none."""
    for device in _USB_DEVICES.iterdir() if _USB_DEVICES.is_dir() else ():
        with contextlib.suppress(OSError, ValueError):
            bus, number = (int((device / name).read_text()) for name in ("busnum", "devnum"))
            if port == f"usb:{bus:03},{number:03}":
                return device
    return None


def system_serial(port: str) -> str:
    """Return the serial number that the system knows of a USB device; "" where it knows none."""
    device = system_device(port)
    try:
        return (device / "serial").read_text().strip() if device else ""
    except OSError:
        return ""
