"""libgphoto2 itself: where it finds its parts, and what its errors mean.

It keeps settings in the home folder, for all programs of a user alike: one camera's capture target
would be another's. So a worker gives it a home where nothing can be kept.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import gphoto2 as gp

from camsvc.drivers.gphoto2 import hearing
from camsvc.model.errors import DeviceAway, DriverError, DriverFault

_NO_HOME = "/dev/null"
"""Nothing can be made or found below it, and nothing is left of it."""

_OWN_FOLDERS = {name: os.environ.get(name, "") for name in ("IOLIBS", "CAMLIBS")}
"""Those of the library's own package, which sets them when it is imported."""


class Disturbed(DriverError):
    """The camera is there, and does not answer as it should: a reset of its USB port may help."""


class Busy(DriverError):
    """The camera does something else, such as writing the last picture to its card."""


class PartMissing(DriverError):
    """It could not load a part of itself, or says so of a camera that is being switched off."""


_GONE = DeviceAway, "the camera is gone: it was unplugged or switched off, or has fallen asleep"
_DISTURBED = Disturbed, "the connection to the camera is disturbed"
_MEANINGS: Mapping[int, tuple[type[DriverError | DriverFault], str]] = {
    gp.GP_ERROR_IO_USB_FIND: _GONE,
    gp.GP_ERROR_MODEL_NOT_FOUND: _GONE,
    gp.GP_ERROR_IO_INIT: _GONE,
    gp.GP_ERROR_UNKNOWN_PORT: _GONE,
    gp.GP_ERROR_IO: _DISTURBED,
    gp.GP_ERROR_IO_READ: _DISTURBED,
    gp.GP_ERROR_IO_WRITE: _DISTURBED,
    gp.GP_ERROR_IO_UPDATE: _DISTURBED,
    gp.GP_ERROR_IO_USB_CLEAR_HALT: _DISTURBED,
    gp.GP_ERROR_TIMEOUT: _DISTURBED,
    gp.GP_ERROR_CAMERA_BUSY: (Busy, "the camera is busy with something else"),
    gp.GP_ERROR_NO_SPACE: (DriverError, "the camera has no room for it"),
    gp.GP_ERROR_CORRUPTED_DATA: (DriverError, "the camera sent damaged data"),
    gp.GP_ERROR_NOT_SUPPORTED: (DriverFault, "libgphoto2 cannot do this with this model of camera"),
    gp.GP_ERROR_LIBRARY: (
        PartMissing,
        "libgphoto2 misses a part of itself: set the camera's `iolibs` and `camlibs` to the "
        "folders of its port and camera libraries, or to none",
    ),
}
"""Any other code passes by itself, or when a person does something."""

_EMPTY_CODES = (gp.GP_ERROR, gp.GP_ERROR_BAD_PARAMETERS, gp.GP_ERROR_NOT_SUPPORTED)
_BUSY = 0x2019
"""PTP's response code of a camera that is."""

CLAIMED = (gp.GP_ERROR_IO_USB_CLAIM, gp.GP_ERROR_IO_LOCK)

REFUSED = "the camera refused"


def use(iolibs: str | None, camlibs: str | None) -> None:
    """Have libgphoto2 look for its port and camera libraries in folders; None: in its own.

    Raises:
        DriverFault: there is no such folder.
    """
    os.environ["HOME"] = _NO_HOME
    os.environ.pop("XDG_CONFIG_HOME", None)
    for name, given in (("IOLIBS", iolibs), ("CAMLIBS", camlibs)):
        folder = given or _OWN_FOLDERS[name]
        if folder and not os.path.isdir(folder):
            raise DriverFault(f"the settings' {name.lower()} is not a folder of libgphoto2's parts")
        if folder:
            os.environ[name] = folder


def contents(file: Any) -> bytes:
    """Return a copy of the bytes of a `CameraFile`, with which they are freed."""
    return bytes(file.get_data_and_size())


@contextlib.contextmanager
def failures(doing: str, refused: str = REFUSED) -> Iterator[None]:
    """Turn libgphoto2's errors into those of a driver.

    Raises:
        DeviceAway: the camera is gone.
        Disturbed: the connection to it is.
        Busy: it does something else.
        PartMissing, DriverError: what else may pass; `refused` says what an error is that has no
            meaning.
        DriverFault: what only a person can fix, in the settings or by another camera.
    """
    hearing.begin()
    try:
        yield
    except gp.GPhoto2Error as error:
        code = (hidden_failure() if error.code in _EMPTY_CODES else None) or error.code
        kind, meaning = _MEANINGS.get(code, (DriverError, refused))
        raise kind(f"{doing} failed: {meaning} {hearing.in_words(error)}") from error


def hidden_failure() -> int | None:
    """Return the code that the last call should have returned, where that hides it.

    None: it failed neither by the connection, nor because the camera was busy.
    """
    busy = gp.GP_ERROR_CAMERA_BUSY if _BUSY in hearing.responses() else None
    return hearing.port_failure() or busy
