"""Checks of requested control values, before any driver sees them.

Libraries take wrong values badly: libgphoto2 crashes at the next read of a choice it does not
know, libcamera's event loop dies of a wrong type.
"""

import math
from collections.abc import Iterable, Mapping

from camsvc.model.errors import InvalidRequest, Unsupported, short, some_of
from camsvc.model.values import Control, ControlValue

_MOST_CHOICES = 32
_TYPES = {"bool": "true or false", "int": "a whole number", "float": "a number", "string": "text"}


def checked(
    controls: Iterable[Control], values: Mapping[str, ControlValue]
) -> dict[str, ControlValue]:
    """Return `values` in each control's own type.

    Raises:
        Unsupported: the camera has no such control, or it is read-only.
        InvalidRequest: wrong type, not finite, out of range, or not among the allowed values.
    """
    known = {control.name: control for control in controls}
    typed, wrong = dict[str, ControlValue](), dict[str, str]()
    for name, value in values.items():
        try:
            typed[name] = _checked(known, name, value)
        except InvalidRequest as error:
            wrong |= error.violations
    if wrong:
        raise InvalidRequest.of(wrong)
    return typed


def _checked(known: Mapping[str, Control], name: str, value: ControlValue) -> ControlValue:
    control = known.get(name)
    if control is None:
        names = some_of(sorted(known))
        raise Unsupported(f"control {name!r} is unknown to this camera; it has: {names}")
    if control.access == "read":
        raise Unsupported(f"control {name!r} is read-only")
    typed = _typed(control, value)
    shown = short(value) if isinstance(value, str) else repr(value)
    if typed is None:
        wrong = f"{shown} has the wrong type"
    elif isinstance(typed, float) and not math.isfinite(typed):
        wrong = f"{typed} is not a finite number"
    elif isinstance(typed, int | float) and not _in_range(control, typed):
        wrong = f"{typed} is out of range"
    elif control.allowed and typed not in control.allowed:
        wrong = f"{shown} is not a choice"
    else:
        return typed
    raise InvalidRequest(f"controls[{name}]", f"{wrong}; {_allowed(control)}")


def _typed(control: Control, value: ControlValue) -> ControlValue | None:
    """Integers serve as floats, and floats without a fraction as integers; nothing else bends."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match control.type:
        case "float" if number:
            return float(value)
        case "int" if number and (isinstance(value, int) or value.is_integer()):  # type: ignore[union-attr]
            return int(value)
        case "bool" if isinstance(value, bool):
            return value
        case "string" if isinstance(value, str):
            return value
    return None


def _in_range(control: Control, value: float) -> bool:
    low = -math.inf if control.minimum is None else control.minimum
    high = math.inf if control.maximum is None else control.maximum
    return low <= value <= high


def _allowed(control: Control) -> str:
    if control.allowed:
        return f"allowed: {some_of(control.allowed, _MOST_CHOICES)}"
    text = f"allowed: {_TYPES[control.type]}"
    if control.minimum is not None:
        text += f" from {control.minimum:.12g}"
    if control.maximum is not None:
        text += f" up to {control.maximum:.12g}"
    return f"{text} {control.unit}".rstrip()
