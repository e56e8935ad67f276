"""Cameras on the USB, seen from outside: what is attached, which one is meant, who holds it."""

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gphoto2 as gp

from camsvc.drivers import holders, kernel_log
from camsvc.drivers.gphoto2.library import failures
from camsvc.worker.messages import Finding

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
    """Which camera is meant; what is empty does not count."""

    model: str = ""
    serial: str = ""
    port: str = ""

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> "Choice":
        """Return the choice that a camera's settings make."""
        return cls(**{key: str(settings.get(key) or "") for key in ("model", "serial", "port")})

    def allows(self, camera: Attached) -> bool:
        """Whether a camera may be the one meant; a serial number that is unknown may be right."""
        return (
            self.model.lower() in camera.model.lower()
            and self.port in ("", camera.port)
            and (not self.serial or not camera.serial or same_serial(self.serial, camera.serial))
        )

    @property
    def given(self) -> dict[str, str]:
        """The keys of the settings that are not empty."""
        keys = {"model": self.model, "serial": self.serial, "port": self.port}
        return {key: value for key, value in keys.items() if value}

    def __str__(self) -> str:
        return ", ".join(f"{key} = {value!r}" for key, value in self.given.items()) or "any"


def attached() -> list[Attached]:
    """Return the cameras that are attached, without opening any."""
    with failures("looking for cameras"):
        found = gp.Camera.autodetect()
        named = [(found.get_name(i), found.get_value(i)) for i in range(found.count())]
    return [Attached(model, port, _system_serial(port)) for model, port in named]


def told_apart(cameras: list[Attached]) -> list[tuple[Attached, Choice]]:
    """Return cameras with what chooses them: by their ports only where nothing better does."""
    models = [camera.model for camera in cameras]

    def choice(camera: Attached) -> Choice:
        if camera.serial:
            return Choice(serial=camera.serial)
        alike = models.count(camera.model) > 1
        return Choice(model=camera.model, port=camera.port if alike else "")

    return [(camera, choice(camera)) for camera in cameras]


def findings(choice: Choice) -> list[Finding]:
    """Return what can be said of the camera that is meant, for an operator."""
    version = gp.gp_library_version(gp.GP_VERSION_SHORT)[0]
    found = [Finding(True, f"libgphoto2 {version}")]
    meant = [camera for camera in attached() if choice.allows(camera)]
    if not meant:
        advice = "Switch it on, plug it in, and set its USB mode to PTP where it has one."
        found.append(Finding(False, f"the camera ({choice}) is not attached", advice))
    for camera in meant:
        found.append(Finding(True, f"attached: {camera.model} at {camera.port}"))
        if forbidden(camera.port):
            found.append(Finding(False, *FORBIDDEN))
        if _holders(camera.port):
            found.append(Finding(False, held(camera.port)))
        device = _system_device(camera.port)
        said = kernel_log.of_usb(device.name) if device else []
        found += [Finding(True, f"the kernel said: {line}") for line in said]
    return found


FORBIDDEN = (
    "the service's user may not use the camera",
    "Add it to the group `plugdev`, install libgphoto2's udev rules, which give cameras to that "
    "group (Debian: apt install libgphoto2-6), and plug the camera in anew.",
)
"""What is wrong, and what to do."""


def forbidden(port: str) -> bool:
    """Whether this user may not use the camera at a port, which the library calls an I/O error."""
    node = _node(port)
    return node is not None and node.exists() and not os.access(node, os.R_OK | os.W_OK)


def _holders(port: str) -> list[holders.Program]:
    node = _node(port)
    return holders.holders(node) if node else []


def _node(port: str) -> Path | None:
    numbers = _numbers(port)
    return _USB_NODES / "/".join(numbers) if numbers else None


def held(port: str) -> str:
    """Return what to do about a camera that another program has claimed."""
    names = ", ".join(map(str, _holders(port)))
    by = f": {names}" if names else ""
    return (
        f"another program has the camera{by}. A desktop opens cameras to show their pictures: end "
        "its part for that for good (systemctl --user mask --now gvfs-gphoto2-volume-monitor, then "
        "pkill gvfsd-gphoto2), or the other program"
    )


def same_serial(one: str, other: str) -> bool:
    """Whether two serial numbers are: the USB's may be longer by zeros in front."""
    return one.lstrip("0").lower() == other.lstrip("0").lower()


def _numbers(port: str) -> tuple[str, str] | None:
    """Return bus and device of a USB port, with three digits each."""
    match = re.fullmatch(r"usb:(\d{3}),(\d{3})", port)
    return (match[1], match[2]) if match else None


def _system_device(port: str) -> Path | None:
    """Return where the system describes the USB device at a port; None where it has none."""
    numbers = _numbers(port)
    if numbers is None or not _USB_DEVICES.is_dir():
        return None
    for device in _USB_DEVICES.iterdir():
        with contextlib.suppress(OSError, ValueError):
            found = [int((device / name).read_text()) for name in ("busnum", "devnum")]
            if found == [int(number) for number in numbers]:
                return device
    return None


def _system_serial(port: str) -> str:
    """Return the serial number that the system knows of a USB device; "" where it knows none."""
    device = _system_device(port)
    try:
        return (device / "serial").read_text().strip() if device else ""
    except OSError:
        return ""
