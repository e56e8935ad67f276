"""A V4L2 device's controls, under the names that all drivers share where there are such.

Where the kernel counts in units of its own, the control is in ours: exposure is given in
microseconds, not in steps of 100. A switch between automatic and manual is a choice by these names.
"""

import errno
from collections.abc import Mapping, Sequence
from ctypes import Structure
from dataclasses import dataclass

from camsvc.drivers.controls import turn
from camsvc.drivers.v4l2 import ioctl as api
from camsvc.drivers.v4l2.device import Device, failures
from camsvc.model.errors import DeviceAway, DriverError, InvalidRequest
from camsvc.model.values import Control, ControlValue

EXPOSURE_MODE, EXPOSURE = "exposure_mode", "exposure_duration_us"

_AUTO, _MANUAL = "auto", "manual"


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a control in addition to what the kernel says.

    `choices` are names for its values, for several values one name, the one to try first in front.
    `mode` names what must be manual before the device takes a value.
    """

    name: str
    scale: int = 1
    unit: str = ""
    choices: Mapping[str, Sequence[int]] | None = None
    mode: str = ""


_SWITCH = {_AUTO: (1,), _MANUAL: (0,)}
_KNOWN = {
    # Webcams know manual and aperture priority, which is what they call automatic.
    0x009A0901: _Known(EXPOSURE_MODE, choices={_AUTO: (3, 0), _MANUAL: (1, 2)}),
    0x009A0902: _Known(EXPOSURE, scale=100, unit="us", mode=EXPOSURE_MODE),
    0x009A090C: _Known("focus_mode", choices=_SWITCH),
    # Not focus_distance_diopters: the steps of UVC focus have no known distance.
    0x009A090A: _Known("focus_absolute", mode="focus_mode"),
    0x0098090C: _Known("white_balance_mode", choices=_SWITCH),
    0x0098091A: _Known("white_balance", unit="K", mode="white_balance_mode"),
    0x00980913: _Known("gain", mode=EXPOSURE_MODE),
}

_TYPES = {
    api.CTRL_INTEGER: "int",
    api.CTRL_BOOLEAN: "bool",
    api.CTRL_MENU: "string",
    api.CTRL_INTEGER_MENU: "string",
}
_UNUSABLE = api.CTRL_DISABLED | api.CTRL_WRITE_ONLY


class DeviceControls:
    """The controls of an open device. Modes come first, since they decide what else may be set."""

    def __init__(self, device: Device) -> None:
        """Ask the device what it has.

        Raises:
            DeviceAway, DriverError: it does not answer.
        """
        self._device = device
        found = [_Entry(device, query, known) for query, known in _queried(device)]
        self._entries = sorted(found, key=lambda entry: not entry.is_mode)

    def all(self) -> list[Control]:
        """Return them with their present values."""
        return [entry.control() for entry in self._entries]

    def value(self, name: str) -> ControlValue | None:
        """Return the present value of a control; None: the device does not have it."""
        return next((e.control().value for e in self._entries if e.name == name), None)

    def set(self, values: Mapping[str, ControlValue]) -> None:
        """Set controls, and read back what the device made of it.

        Raises:
            InvalidRequest: the device refused a value, or took another.
        """
        wanted = [(entry, values[entry.name]) for entry in self._entries if entry.name in values]
        for entry, value in sorted(wanted, key=lambda pair: turn(pair[0].name, pair[1])):
            entry.set(value)


class _Entry:
    def __init__(self, device: Device, query: api.QueryControl, known: _Known) -> None:
        self._device, self._query, self._known = device, query, known
        self.name = known.name
        self.is_mode = known.name.endswith("_mode")
        menu = query.type in (api.CTRL_MENU, api.CTRL_INTEGER_MENU)
        offered = _menu(device, query) if menu else {}
        if known.choices:
            values = offered or range(query.minimum, query.maximum + 1)
            by_name = {n: [v for v in vs if v in values] for n, vs in known.choices.items()}
            self._choices = {name: found for name, found in by_name.items() if found}
        else:
            self._choices = {text: [value] for value, text in offered.items()}

    def control(self) -> Control:
        """Return the control with its present value."""
        query, known = self._query, self._known
        raw = self._get()
        access = "read" if query.flags & api.CTRL_READ_ONLY else "read_write"
        if self._choices:
            value = next((name for name, raws in self._choices.items() if raw in raws), None)
            return Control(self.name, "string", value, allowed=[*self._choices], access=access)
        if query.type == api.CTRL_BOOLEAN:
            return Control(self.name, "bool", None if raw is None else bool(raw), access=access)
        return Control(
            self.name,
            "int",
            None if raw is None else raw * known.scale,
            minimum=query.minimum * known.scale,
            maximum=query.maximum * known.scale,
            increment=max(1, query.step) * known.scale,
            unit=known.unit,
            access=access,
            description="" if known.unit else "In the device's own steps.",
        )

    def set(self, wanted: ControlValue) -> None:
        raws = self._choices[str(wanted)] if self._choices else [self._raw(wanted)]
        setting = api.ControlValue(id=self._query.id, value=raws[0])
        refused = False
        with failures("set a control"):
            try:
                refused = not api.ask(self._device.fd, api.S_CTRL, setting)
            except OSError as error:
                refused = error.errno in (errno.ERANGE, errno.EACCES, errno.EBUSY, errno.EIO)
                if not refused:
                    raise
        if refused or self._get() not in (None, *raws):
            value = self.control().value
            hint = f"; it may need {self._known.mode} = manual" if self._known.mode else ""
            text = f"{wanted} is not accepted by the device, which stays at {value}{hint}"
            raise InvalidRequest(f"controls[{self.name}]", text)

    def _raw(self, wanted: ControlValue) -> int:
        return round(int(wanted) / self._known.scale)

    def _get(self) -> int | None:
        """Return the present value; None: it is unknown."""
        setting = api.ControlValue(id=self._query.id)
        return setting.value if _answers(self._device, api.G_CTRL, setting) else None


def _queried(device: Device) -> "list[tuple[api.QueryControl, _Known]]":
    """Return what can be read of the device's controls; an old driver lists none."""
    found = []
    query = api.QueryControl(id=api.NEXT_CTRL)
    while _answers(device, api.QUERY_EXT_CTRL, query):
        if query.type in _TYPES and not query.flags & _UNUSABLE:
            name = query.name.decode(errors="replace")
            known = _KNOWN.get(query.id) or _Known(_plain(name))
            found.append((query, known))
        query = api.QueryControl(id=query.id | api.NEXT_CTRL)
    return found


def _answers(device: Device, request: int, argument: Structure) -> bool:
    """Ask about a control; False also where the device fails to answer.

    Some webcams have one or two controls that they say nothing about; they still take pictures.

    Raises:
        DeviceAway: it was unplugged.
    """
    try:
        with failures("report a control"):
            return api.ask(device.fd, request, argument)
    except DeviceAway:
        raise
    except DriverError:
        return False


def _menu(device: Device, query: api.QueryControl) -> dict[int, str]:
    """Return the entries of a menu: not every number between its ends has one."""
    entries = {}
    for index in range(query.minimum, query.maximum + 1):
        entry = api.QueryMenu(id=query.id, index=index)
        if not _answers(device, api.QUERYMENU, entry):
            continue
        raw = bytes(entry.name)
        if query.type == api.CTRL_MENU:
            entries[index] = raw.split(b"\0")[0].decode(errors="replace")
        else:
            entries[index] = str(int.from_bytes(raw[:8], "little", signed=True))
    return entries


def _plain(name: str) -> str:
    """Return a control's name as others are written: "Power Line Frequency", power_line_frequency.

    The comma in "White Balance, Automatic" goes.
    """
    letters = (letter if letter.isalnum() else " " for letter in name.lower())
    return "_".join("".join(letters).split())
