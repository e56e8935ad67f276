"""A V4L2 device's controls, under the names that all drivers share where there are such."""

import errno
from collections.abc import Mapping
from ctypes import Structure
from dataclasses import replace

from camsvc.drivers.linux import webcam
from camsvc.drivers.v4l2 import ioctl as api
from camsvc.drivers.v4l2.device import Device, failures
from camsvc.model.errors import DeviceAway, DriverError
from camsvc.model.values import Control, ControlValue

_NAMES = {
    0x009A0901: webcam.EXPOSURE_MODE,
    0x009A0902: webcam.EXPOSURE,
    0x009A090C: "focus_mode",
    0x009A090A: "focus_absolute",
    0x0098090C: "white_balance_mode",
    0x0098091A: "white_balance",
    0x00980913: "gain",
}
"""Those that all drivers share."""

_TYPES = (api.CTRL_INTEGER, api.CTRL_BOOLEAN, api.CTRL_MENU, api.CTRL_INTEGER_MENU)
_UNUSABLE = api.CTRL_DISABLED | api.CTRL_WRITE_ONLY


class DeviceControls:
    """The controls of an open device. Modes come first, since they decide what else may be set."""

    def __init__(self, device: Device) -> None:
        """Ask the device what it has.

        Raises:
            DeviceAway, DriverError: it does not answer.
        """
        found = [_Entry(device, query) for query in _queried(device)]
        self._entries: dict[str, _Entry] = {}
        for entry in sorted(found, key=lambda entry: not entry.name.endswith("_mode")):
            self._entries.setdefault(entry.name, entry)

    def all(self) -> list[Control]:
        """Return them with their present values."""
        return [entry.control() for entry in self._entries.values()]

    def value(self, name: str) -> ControlValue | None:
        """Return the present value of a control; None: the device does not have it."""
        return self._entries[name].control().value if name in self._entries else None

    def set(self, values: Mapping[str, ControlValue]) -> None:
        """Set controls, and read back what the device made of it.

        Raises:
            InvalidRequest: the device refused a value, or took another.
        """
        for name, value in webcam.in_turn(values):
            self._entries[name].set(value)


class _Entry:
    def __init__(self, device: Device, query: api.QueryControl) -> None:
        self._device, self._query = device, query
        plain = _plain(query.name.decode(errors="replace"))
        known = webcam.known(_NAMES[query.id]) if query.id in _NAMES else webcam.Known(plain)
        self.name = known.name
        menu = query.type in (api.CTRL_MENU, api.CTRL_INTEGER_MENU)
        offered = _menu(device, query) if menu else {}
        choices = {text: [value] for value, text in offered.items()}
        if known.choices:
            values = offered or range(query.minimum, query.maximum + 1)
            by_name = {n: [v for v in vs if v in values] for n, vs in known.choices.items()}
            choices = {name: found for name, found in by_name.items() if found}
        self._known = replace(known, choices=choices)

    def control(self) -> Control:
        """Return the control with its present value."""
        query, known = self._query, self._known
        raw = self._get()
        control = known.control(raw)
        if query.type == api.CTRL_BOOLEAN and not known.choices:
            control = Control(self.name, "bool", None if raw is None else bool(raw))
        elif not known.choices:
            control = replace(
                control,
                minimum=query.minimum * known.scale,
                maximum=query.maximum * known.scale,
                increment=max(1, query.step) * known.scale,
            )
        return replace(control, access="read" if query.flags & api.CTRL_READ_ONLY else "read_write")

    def set(self, wanted: ControlValue) -> None:
        raws = self._known.raws(wanted)
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
            raise self._known.refusal(wanted, self.control().value)

    def _get(self) -> int | None:
        """Return the present value; None: it is unknown."""
        setting = api.ControlValue(id=self._query.id)
        return setting.value if _answers(self._device, api.G_CTRL, setting) else None


def _queried(device: Device) -> list[api.QueryControl]:
    """Return what can be read of the device's controls; an old driver lists none."""
    found = []
    query = api.QueryControl(id=api.NEXT_CTRL)
    while _answers(device, api.QUERY_EXT_CTRL, query):
        if query.type in _TYPES and not query.flags & _UNUSABLE:
            found.append(query)
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
