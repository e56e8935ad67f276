"""libgphoto2 itself: where it finds its parts, and what its errors mean.

It keeps settings in the home folder, for all programs of a user alike: one camera's capture target
would be another's. So a worker gives it a home where nothing can be kept.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import gphoto2 as gp

from camsvc.errors import DeviceAway, DriverError, DriverFault

_NO_HOME = "/dev/null"
"""Nothing can be made or found below it, and nothing is left of it."""

_OWN_FOLDERS = {name: os.environ.get(name, "") for name in ("IOLIBS", "CAMLIBS")}
"""Those of the library's own package, which sets them when it is imported."""

_GONE = "the camera is gone: it was unplugged or switched off, or has fallen asleep"
_UNREACHABLE = "the connection to the camera is disturbed"
_PARTS = (
    "libgphoto2 misses a part of itself: set the camera's `iolibs` and `camlibs` to the folders of "
    "its port and camera libraries, or to none"
)
_AWAY = (
    gp.GP_ERROR_IO_USB_FIND,
    gp.GP_ERROR_MODEL_NOT_FOUND,
    gp.GP_ERROR_IO_INIT,
    gp.GP_ERROR_UNKNOWN_PORT,
)
_MEANINGS = {
    gp.GP_ERROR_IO: _UNREACHABLE,
    gp.GP_ERROR_IO_READ: _UNREACHABLE,
    gp.GP_ERROR_IO_WRITE: _UNREACHABLE,
    gp.GP_ERROR_IO_UPDATE: _UNREACHABLE,
    gp.GP_ERROR_IO_USB_CLEAR_HALT: _UNREACHABLE,
    gp.GP_ERROR_TIMEOUT: _UNREACHABLE,
    gp.GP_ERROR_CAMERA_BUSY: "the camera is busy with something else",
    gp.GP_ERROR_NO_SPACE: "the camera has no room for another picture: change or empty its card",
    gp.GP_ERROR_CORRUPTED_DATA: "the camera sent damaged data",
}
"""What passes by itself, or when a person does something; any other code likewise."""

_DISTURBED = tuple(code for code, meaning in _MEANINGS.items() if meaning is _UNREACHABLE)
CLAIMED = (gp.GP_ERROR_IO_USB_CLAIM, gp.GP_ERROR_IO_LOCK)
_PERMANENT = {
    gp.GP_ERROR_LIBRARY: _PARTS,
    gp.GP_ERROR_NOT_SUPPORTED: "libgphoto2 cannot do this with this model of camera",
}


class Disturbed(DriverError):
    """The camera is there, and does not answer as it should: a reset of its USB port may help."""


def use(settings: Mapping[str, object]) -> None:
    """Have libgphoto2 look for its parts where a camera's settings say.

    Raises:
        DriverFault: there is no such folder.
    """
    os.environ["HOME"] = _NO_HOME
    os.environ.pop("XDG_CONFIG_HOME", None)
    for name, own in _OWN_FOLDERS.items():
        folder = str(settings.get(name.lower()) or own)
        if folder and not os.path.isdir(folder):
            raise DriverFault(f"the settings' {name.lower()} is not a folder of libgphoto2's parts")
        if folder:
            os.environ[name] = folder


def contents(file: Any) -> bytes:
    """Return a copy of the bytes of a `CameraFile`, with which they are freed."""
    return bytes(file.get_data_and_size())


@contextlib.contextmanager
def failures(doing: str) -> Iterator[None]:
    """Turn libgphoto2's errors into those of a driver.

    Raises:
        DeviceAway: the camera is gone.
        Disturbed: the connection to it is.
        DriverError: what else may pass.
        DriverFault: what a person must mend in the settings, or by another camera.
    """
    try:
        yield
    except gp.GPhoto2Error as error:
        raise failure(error, doing) from error


def failure(error: gp.GPhoto2Error, doing: str) -> DriverError | DriverFault:
    """Return what an error of libgphoto2 means to the service."""
    code = f"libgphoto2 says {error.code}, {error.string}"
    if error.code in _PERMANENT:
        return DriverFault(f"{doing} failed: {_PERMANENT[error.code]} ({code})")
    if error.code in _AWAY:
        return DeviceAway(f"{doing} failed: {_GONE} ({code})")
    kind = Disturbed if error.code in _DISTURBED else DriverError
    meaning = _MEANINGS.get(error.code, "the camera refused")
    return kind(f"{doing} failed: {meaning} ({code})")
