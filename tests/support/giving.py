"""A driver that hands over whatever a test writes down for it, as an expression of Python.

Settings: `driver = "giving:GivingCamera"`, this folder in the `PYTHONPATH` of `env`, and in
`options` the `folder` where the test writes: `still` for the next still, `frame` for the next live
one. Where nothing is written, it gives a good picture.
"""

import builtins
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from camsvc.drivers.base import Driver, DriverState
from camsvc.images import codec
from camsvc.model import errors
from camsvc.model.values import Control, DeviceInfo, File, Frame, Shot

WRONG_EXPRESSION = 99
"""The exit code of a driver that was told what is no expression."""

SIDE = 16
GREY = np.full((SIDE, SIDE, 3), 128, np.uint8)
JPEG = bytes(codec.encode(GREY, codec.JPEG, 90))
TIFF = b"II*\0\x08\0\0\0\0\0\0\0\0\0"


class GivingCamera(Driver):
    """Gives what it is told to."""

    name = "giving"

    def __init__(self, settings: Mapping[str, Any], state: DriverState) -> None:
        self._folder = Path(str(settings["folder"]))

    def open(self) -> DeviceInfo:
        device = DeviceInfo("giving", ["JPEG", "PNG", "RAW"], capture_during_live_view=True)
        return self._given("device", device)  # type: ignore[no-any-return]

    def capture(self, shot: Shot) -> Frame:
        return self._given("still", good())  # type: ignore[no-any-return]

    def read(self) -> Frame:
        time.sleep(0.01)
        return self._given("frame", good())  # type: ignore[no-any-return]

    def controls(self) -> list[Control]:
        return self._given("controls", [])  # type: ignore[no-any-return]

    def close(self) -> None:
        pass

    def _given(self, what: str, otherwise: object) -> Any:
        path = self._folder / what
        try:
            text = path.read_text()
            path.unlink()
        except FileNotFoundError:
            return otherwise
        try:
            return eval(text, NAMES)
        except (NameError, SyntaxError):
            os._exit(WRONG_EXPRESSION)


def write(folder: Path, what: str, expression: str) -> None:
    """Have the driver give the value of an expression next, once."""
    draft = folder / f"{what}.draft"
    draft.write_text(expression)
    draft.rename(folder / what)


def good(**fields: Any) -> Frame:
    """Return a frame of now, of pixels; `fields` are others than those of a good one."""
    return Frame(**{"acquisition_time_ns": time.time_ns(), "pixels": GREY, **fields})


def file(data: Any, **fields: Any) -> Frame:
    """Return a frame of now, of a file."""
    return good(**{"pixels": None, "encoded": data, "mime_type": "image/jpeg", **fields})


def array(dtype: str, shape: tuple[int, ...], layout: str) -> Any:
    """Return an array of anything, which lies in memory in a way of its own."""
    made = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    match layout:
        case "reversed" if made.ndim:
            return made[::-1]
        case "transposed":
            return made.T
        case "by column":
            return np.asfortranarray(made)
        case "other byte order":
            return made.astype(made.dtype.newbyteorder(">"))
        case "read-only":
            made.flags.writeable = False
        case "repeated" if made.ndim:
            return np.broadcast_to(made[:1], made.shape)
    return made


def fail(kind: str, *arguments: Any) -> None:
    """Raise an exception as libraries do."""
    named = {**vars(errors), **vars(builtins)}
    raise named.get(kind, Unspeakable)(*arguments)


class Unspeakable(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")


NAMES = {"File": File, **globals()}
"""What expressions may use: all that is here."""
