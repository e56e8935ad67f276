"""Import a driver, and with it the library of its camera."""

import contextlib
import importlib
from typing import cast

from camsvc.drivers.base import Driver
from camsvc.images import exif
from camsvc.model import errors
from camsvc.model.registry import BUILTIN, NO_CAMERA


def load_driver(path: str) -> type[Driver] | errors.DriverFault:
    """Return the class at "package.module:Class", or why there is none, for each command to raise.

    For a worker without a camera it is the abstract one. What encodes a camera's pictures is
    imported too, so that the first one does not wait for it.
    """
    if path == NO_CAMERA:
        return Driver
    known = next((name for name, builtin in BUILTIN.items() if builtin.driver == path), path)
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a library may raise anything when it is imported
        return errors.DriverFault(
            f"driver {known!r} cannot be loaded: {type(error).__name__}: {error}; install what is "
            "missing into the camera's `python`, then reset the camera"
        )
    with contextlib.suppress(ImportError):  # then pictures must come encoded
        importlib.import_module("cv2")
    exif.pillow()
    return cast(type[Driver], found)
