"""Connections to cameras on the USB: made, ended, and made again after a reset of the port."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gphoto2 as gp

from camsvc.drivers.gphoto2 import usb
from camsvc.drivers.gphoto2.hearing import CONTEXT
from camsvc.drivers.gphoto2.library import CLAIMED, failures
from camsvc.drivers.gphoto2.usb import Attached, Choice
from camsvc.model.errors import DeviceAway, DeviceInUse, DriverError, DriverFault

_SAME_S = 10.0
"""How long a camera at a port is taken for the one that was opened there."""

_BACK_S, _LOOK_S = 3.0, 0.1
"""How long a camera may take to be back after its port was reset, and how often to check."""


def connect(choice: Choice, likely: str = "") -> tuple[Any, Attached]:
    """Open the selected camera; return libgphoto2's `Camera`, and what it is.

    Where only opening shows which it is, the candidates are opened one after the other; one that
    does not open may be in use elsewhere, and the next is tried. The one at the port `likely` comes
    first.

    Raises:
        DeviceAway: it is not attached, another program has it, or it may not be used (yet).
        Disturbed, Busy, DriverError: it does not answer.
        DriverFault: the settings fit several.
    """
    found = usb.attached()
    _forget_all_but(found)
    certain, possible = usb.resolve(choice, found)
    if certain is not None:
        camera = _opened(certain)
        return camera, replace(certain, serial=next(iter(_serials_in(camera)), certain.serial))
    if not possible:
        raise DeviceAway(usb.missing(choice, found))
    if not choice.serial:
        raise DriverFault(usb.several(choice, possible))
    failed: list[DriverError | DriverFault] = []
    for each in sorted(possible, key=lambda camera: camera.port != likely):
        if _is_another(each, choice.serial):
            continue
        try:
            camera = _opened(each)
        except (DriverError, DriverFault) as error:
            if len(possible) > 1:
                error = type(error)(f"{each.model} at {each.port}, which may be the one: {error}")
            failed.append(error)
            continue
        serials = _serials_in(camera)
        _serials[each] = time.monotonic(), serials
        if any(usb.same_serial(choice.serial, serial) for serial in serials):
            return camera, replace(each, serial=serials[0])
        disconnect(camera)
    if failed:
        raise failed[0]
    raise DeviceAway(
        f"no camera has the serial number {choice.serial!r} of the settings; attached: "
        + ", ".join(", ".join(_serials[each][1]) or "unknown" for each in possible)
    )


_serials: dict[Attached, tuple[float, list[str]]] = {}
"""The serial numbers of cameras that were opened here, and when. They are not opened again for
another serial number, as long as they are likely to be the same: ports are used again."""


def _forget_all_but(found: list[Attached]) -> None:
    old = time.monotonic() - _SAME_S
    for camera in [c for c, (at, _) in _serials.items() if c not in found or at < old]:
        del _serials[camera]


def _is_another(camera: Attached, serial: str) -> bool:
    _, known = _serials.get(camera, (0.0, []))
    return known != [] and not any(usb.same_serial(serial, one) for one in known)


def disconnect(camera: Any) -> None:
    """Release a camera, whatever error it reports. It must not be used again.

    Opening the same object a second time corrupts the library's memory.
    """
    with contextlib.suppress(gp.GPhoto2Error):
        camera.exit()


def reset(port: str) -> None:
    """Reset a camera's USB port, to which no connection may be open.

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


def reset_selected(choice: Choice, known: str = "") -> None:
    """Reset the USB port of the selected camera, as far as it is known.

    Not where another may be: only at the port `known`, at which it was before. It has another when
    it is plugged in again, and so has any other camera.
    """
    with contextlib.suppress(DriverError):
        certain, possible = usb.resolve(choice, usb.attached())
        for camera in [certain] if certain else possible:
            if len(possible) <= 1 or camera.port == known:
                reset(camera.port)


def connect_again(choice: Choice, likely: str) -> tuple[Any, Attached]:
    """Open a camera whose port was reset, as soon as it is back, perhaps at another port.

    Raises: as `connect`, after `_BACK_S` seconds.
    """
    give_up = time.monotonic() + _BACK_S
    while True:
        try:
            return connect(choice, likely)
        except DriverError:
            if time.monotonic() > give_up:
                raise
        time.sleep(_LOOK_S)


def _opened(each: Attached) -> Any:
    if usb.forbidden(each.port):
        raise DeviceAway(usb.FORBIDDEN)  # udev sets a new node's rights a moment later
    camera = gp.Camera()
    with failures("opening the camera"):
        with _info(each.port) as info:
            camera.set_port_info(info)
        try:
            camera.init(CONTEXT)
        except gp.GPhoto2Error as error:
            if error.code in CLAIMED:
                raise DeviceInUse(usb.held(each.port)) from error
            raise
    return camera


@contextlib.contextmanager
def _info(port: str) -> Iterator[Any]:
    """Give libgphoto2's description of a port, which is freed together with its list."""
    ports = gp.PortInfoList()
    ports.load()
    yield ports.get_info(ports.lookup_path(port))


def _serials_in(camera: Any) -> list[str]:
    """Return a camera's serial numbers, that of its body first."""
    found = (_text_in(camera, name) for name in ("eosserialnumber", "serialnumber"))
    return [serial for serial in found if serial]


def _text_in(camera: Any, name: str) -> str:
    try:
        return str(camera.get_single_config(name).get_value() or "")
    except gp.GPhoto2Error:
        return ""  # Canon alone has the first, and few cameras lack the other
