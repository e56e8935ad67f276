"""Connections to cameras on the USB: made, ended, and made anew after a reset of the port."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import gphoto2 as gp

from camsvc.drivers.gphoto2.attached import (
    FORBIDDEN,
    Attached,
    Choice,
    attached,
    forbidden,
    held,
    same_serial,
)
from camsvc.drivers.gphoto2.library import CLAIMED, failure, failures
from camsvc.errors import DeviceAway, DeviceInUse, DriverError, DriverFault

_BACK_S, _LOOK_S = 3.0, 0.1
"""How long a camera may take to be back after its port was reset, and how often to look."""


def connect(choice: Choice) -> tuple[Any, Attached]:
    """Open the camera that is meant; return libgphoto2's `Camera`, and what it is.

    Raises:
        DeviceAway: it is not attached, another program has it, or it may not be used (yet).
        Disturbed, DriverError: it does not answer.
        DriverFault: several may be meant.
    """
    found = attached()
    meant = [camera for camera in found if choice.allows(camera)]
    if not meant:
        others = ", ".join(f"{camera.model} at {camera.port}" for camera in found) or "none"
        raise DeviceAway(
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
        if not choice.serial or same_serial(choice.serial, serial):
            return camera, Attached(each.model, each.port, serial or each.serial)
        seen.append(serial)
        disconnect(camera)
    raise DeviceAway(
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


def reset_meant(choice: Choice) -> None:
    """Reset the USB ports of the cameras that may be meant, as far as they allow it."""
    with contextlib.suppress(DriverError):
        for camera in attached():
            if choice.allows(camera):
                reset(camera.port)


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


def _opened(each: Attached) -> Any:
    if forbidden(each.port):
        raise DeviceAway(": ".join(FORBIDDEN))  # udev sets a new node's rights a moment later
    camera = gp.Camera()
    try:
        with _info(each.port) as info:
            camera.set_port_info(info)
        camera.init()
    except gp.GPhoto2Error as error:
        if error.code in CLAIMED:
            raise DeviceInUse(f"{held(each.port)} (libgphoto2 says {error.code})") from error
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
