"""What a driver says of its device and controls, made such that it can be sent and shown.

Names and descriptions come from the device itself, in any encoding and of any length.
"""

from dataclasses import fields, is_dataclass, replace
from itertools import islice
from typing import Any, TypeVar

from camsvc.model.errors import DriverError, in_words, sendable
from camsvc.model.limits import LINE_CHARACTERS
from camsvc.model.values import MAX_DETAILS, MAX_FORMATS, MAX_SIZES, MAX_WARNINGS, DeviceInfo

_T = TypeVar("_T")


def described(given: object) -> DeviceInfo:
    """Return what a driver says of its device, with text that can be shown, and not too much.

    Raises:
        DriverError: it says nothing.
    """
    if not isinstance(given, DeviceInfo):
        raise DriverError(f"the camera's driver describes its device by {in_words(given)}")
    device = legible(given)
    return replace(
        device,
        formats=_first(device.formats, MAX_FORMATS),
        sizes=_first(device.sizes, MAX_SIZES),
        warnings=_first(device.warnings, MAX_WARNINGS),
        details=_first(device.details, MAX_DETAILS),
    )


def legible(value: _T) -> _T:
    """Return a value whose texts can all be sent; others of its values stay as they are."""
    made: Any = value
    if isinstance(value, str):
        made = sendable(value, LINE_CHARACTERS)
    elif isinstance(value, list):
        made = [legible(item) for item in value]
    elif isinstance(value, dict):
        made = {legible(key): legible(item) for key, item in value.items()}
    elif is_dataclass(value) and not isinstance(value, type):
        made = replace(value, **{f.name: legible(getattr(value, f.name)) for f in fields(value)})
    return made  # type: ignore[no-any-return]


def _first(values: _T, most: int) -> _T:
    """Return the first of a list or dict; what is neither, the pipe refuses by its name."""
    first: Any = values
    if isinstance(values, list):
        first = values[:most]
    elif isinstance(values, dict):
        first = dict(islice(values.items(), most))
    return first  # type: ignore[no-any-return]
