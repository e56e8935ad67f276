"""Cameras on the USB: found, told apart, connected to, reset; and who holds one."""

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gphoto2 as gp

from camsvc.drivers import v4l2
from camsvc.drivers.gphoto2.library import CLAIMED, failure, failures
from camsvc.errors import DriverError, DriverFault

_USB_DEVICES = Path("/sys/bus/usb/devices")
_USB_NODES = Path("/dev/bus/usb")

_BACK_S, _LOOK_S = 3.0, 0.1
"""How long a camera may take to be back after its port was reset, and how often to look."""


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
            and (not self.serial or not camera.serial or _same(self.serial, camera.serial))
        )

    def __str__(self) -> str:
        keys = {"model": self.model, "serial": self.serial, "port": self.port}
        named = ", ".join(f"{key} = {value!r}" for key, value in keys.items() if value)
        return named or "any"


def attached() -> list[Attached]:
    """Return the cameras that are attached, without opening any."""
    with failures("looking for cameras"):
        found = gp.Camera.autodetect()
        named = [(found.get_name(i), found.get_value(i)) for i in range(found.count())]
    return [Attached(model, port, _system_serial(port)) for model, port in named]


def connect(choice: Choice) -> tuple[Any, Attached]:
    """Open the camera that is meant; return libgphoto2's `Camera`, and what it is.

    Raises:
        DriverError: it is not attached, another program has it, or it does not answer.
        DriverFault: several may be meant.
    """
    found = attached()
    meant = [camera for camera in found if choice.allows(camera)]
    if not meant:
        others = ", ".join(f"{camera.model} at {camera.port}" for camera in found) or "none"
        raise DriverError(
            f"the camera of the settings ({choice}) is not attached: switch it on and plug it in; "
            f"attached: {others}"
        )
    if len(meant) > 1 and not choice.serial:
        ports = ", ".join(f"{camera.model} at {camera.port}" for camera in meant)
        raise DriverFault(
            f"several cameras fit the settings ({choice}): {ports}; tell them apart by `serial`, "
            "which is printed on the body and listed by ListControls"
        )
    seen = []
    for each in meant:
        camera = _opened(each)
        serial = _serial_in(camera)
        if not choice.serial or _same(choice.serial, serial):
            return camera, Attached(each.model, each.port, serial or each.serial)
        seen.append(serial)
        disconnect(camera)
    raise DriverError(
        f"no camera has the serial number {choice.serial!r} of the settings; attached: "
        + ", ".join(map(repr, seen))
    )


def disconnect(camera: Any) -> None:
    """Let a camera go, whatever it says to it. It must not be used again.

    Opening the same object a second time corrupts the library's memory.
    """
    with contextlib.suppress(gp.GPhoto2Error):
        camera.exit()


def reset(port: str) -> None:
    """Reset a camera's USB port, to which nobody may be connected.

    Raises:
        DriverError: there is none any more.
    """
    with failures("the reset of the USB port"):
        code, handle = gp.gp_port_new()
        gp.check_result(code)
        with _info(port) as info:
            gp.check_result(gp.gp_port_set_info(handle, info))
        gp.check_result(gp.gp_port_open(handle))
        try:
            gp.check_result(gp.gp_port_reset(handle))
        finally:
            gp.gp_port_close(handle)


def connect_again(choice: Choice) -> tuple[Any, Attached]:
    """Open a camera whose port was reset, as soon as it is back, perhaps at another port.

    Raises: as `connect`, after `_BACK_S` seconds.
    """
    give_up = time.monotonic() + _BACK_S
    while True:
        try:
            return connect(choice)
        except DriverError:
            if time.monotonic() > give_up:
                raise
        time.sleep(_LOOK_S)


def holders(port: str) -> list[str]:
    """Return the programs that hold a camera, as "name (pid 1)", as far as this user may see."""
    numbers = _numbers(port)
    return v4l2.holders(_USB_NODES / "/".join(numbers)) if numbers else []


def held(port: str) -> str:
    """Return what to do about a camera that another program has claimed."""
    names = holders(port)
    by = f": {', '.join(names)}" if names else ""
    return (
        f"another program has the camera{by}. A desktop opens cameras to show their pictures: end "
        "its part for that for good (systemctl --user mask --now gvfs-gphoto2-volume-monitor, then "
        "pkill gvfsd-gphoto2), or the other program"
    )


def _opened(each: Attached) -> Any:
    camera = gp.Camera()
    try:
        with _info(each.port) as info:
            camera.set_port_info(info)
        camera.init()
    except gp.GPhoto2Error as error:
        if error.code in CLAIMED:
            raise DriverError(f"{held(each.port)} (libgphoto2 says {error.code})") from error
        raise failure(error, "opening the camera") from error
    return camera


@contextlib.contextmanager
def _info(port: str) -> Iterator[Any]:
    """Give libgphoto2's description of a port, which is freed together with its list."""
    ports = gp.PortInfoList()
    ports.load()
    yield ports.get_info(ports.lookup_path(port))


def _serial_in(camera: Any) -> str:
    try:
        return str(camera.get_single_config("serialnumber").get_value() or "")
    except gp.GPhoto2Error:
        return ""  # few cameras do not tell


def _same(one: str, other: str) -> bool:
    """Whether two serial numbers are: the USB's may be longer by zeros in front."""
    return one.lstrip("0").lower() == other.lstrip("0").lower()


def _numbers(port: str) -> tuple[str, str] | None:
    """Return bus and device of a USB port, with three digits each."""
    match = re.fullmatch(r"usb:(\d{3}),(\d{3})", port)
    return (match[1], match[2]) if match else None


def _system_serial(port: str) -> str:
    """Return the serial number that the system knows of a USB device; "" where it knows none."""
    numbers = _numbers(port)
    if numbers is None or not _USB_DEVICES.is_dir():
        return ""
    for device in _USB_DEVICES.iterdir():
        with contextlib.suppress(OSError, ValueError):
            found = [int((device / name).read_text()) for name in ("busnum", "devnum")]
            if found == [int(number) for number in numbers]:
                return (device / "serial").read_text().strip()
    return ""
