"""A gphoto2 camera's settings as controls.

The tree of settings is read once, as reading it takes some 60 transfers; later only what an event
or a change has made doubtful. Nothing but a choice that the camera offers is ever set: libgphoto2
takes others, and crashes when it reads them back.
"""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import gphoto2 as gp

from camsvc.drivers.gphoto2 import hearing
from camsvc.drivers.gphoto2.exposure import EXPOSURE, Exposure
from camsvc.drivers.gphoto2.hearing import CONTEXT
from camsvc.drivers.gphoto2.library import Busy, Disturbed, failures, hidden_failure
from camsvc.model.errors import DeviceAway, DriverError, DriverFault, InvalidRequest
from camsvc.model.values import Control, ControlValue

STANDARD = {
    "f-number": "aperture",
    "aperture": "aperture",
    "iso": "iso",
    "whitebalance": "white_balance",
    "focusmode": "focus_mode",
}
"""The contract's names of what libgphoto2 names otherwise."""

_SECTIONS = ("settings", "imgsettings", "capturesettings", "status")
"""What is shown. `actions` are not values, and `other` has the same ones by their numbers."""

_HIDDEN = ("vendorextension", "thumbsize", "fastfs")
"""What says nothing of the camera; the last two are libgphoto2's own."""

_ASSUMED = ("autofocus",)
"""What libgphoto2 shows as set, but applies only when written: written even if it is equal."""

_CHOICES = (gp.GP_WIDGET_RADIO, gp.GP_WIDGET_MENU)
_REFUSALS = (gp.GP_ERROR_BAD_PARAMETERS, gp.GP_ERROR_NOT_SUPPORTED)
_ASK_MS = 1
_BUSY_S, _BUSY_PAUSE_S = 2.5, 0.1
"""How long a camera may be busy with something else, and how often to ask it again."""
_ABSENT = "the camera does not have it in its present mode"
_CHANGED = re.compile(r'PTP Property [0-9a-f]+ changed(?:, "([^"]+)")?')


class ControlTree:
    """The settings of an open camera.

    `names` lead from a control to libgphoto2's name for it; `actions` are what it can do.
    """

    def __init__(self, camera: Any) -> None:
        self._camera = camera
        self._known: dict[str, Control] = {}
        self.names: dict[str, str] = {}
        self._stale: set[str] = set()
        self._exposure: Exposure | None = None
        with failures("reading the camera's settings"):
            tree = camera.get_config(CONTEXT)  # kept: its parts are freed with it, used or not
            sections = {part.get_name(): part for part in tree.get_children()}
            found = sections["actions"].get_children() if "actions" in sections else ()
            self.actions = {action.get_name() for action in found}
            for name in _SECTIONS:
                if name in sections:
                    self._read_all(sections[name])

    def choices(self, name: str) -> list[str]:
        """Return what a setting of libgphoto2's name can be set to; none where it is not there."""
        control = self._known.get(STANDARD.get(name, name))
        return control.allowed if control is not None else []

    def on_event(self, event: str) -> None:
        """Take an event's text: a setting that it names has to be read again.

        Of one that is gone, the event has no name.
        """
        if match := _CHANGED.match(event):
            if match[1] is None:
                self.doubt_exposure()
            elif match[1] in self.names.values():
                self._stale.add(match[1])

    def doubt_exposure(self) -> None:
        """Have the exposure read again, whatever the camera has reported."""
        if self._exposure is not None:
            self._stale.add(self._exposure.name)

    @property
    def known(self) -> list[Control]:
        """All controls as they were read last, without asking the camera."""
        return list(self._known.values())

    def controls(self) -> list[Control]:
        """Return all controls as they are now."""
        self._refresh()
        return self.known

    def value(self, name: str) -> ControlValue | None:
        """Return what a setting of libgphoto2's name is now; None where it is not there."""
        self._refresh()
        control = self._known.get(STANDARD.get(name, name))
        return control.value if control is not None else None

    @property
    def maker(self) -> str:
        """The camera's, in its own words; empty where it does not say."""
        control = self._known.get("manufacturer")
        return str(control.value or "") if control is not None else ""

    @property
    def exposure_us(self) -> int | None:
        """The exposure that is set, in microseconds; None where the camera chooses it."""
        value = self.value(EXPOSURE)
        return int(value) if value is not None else None

    @property
    def bulb_s(self) -> float | None:
        """The exposure that has to be timed here, in seconds; None: the camera times it."""
        return self._exposure.bulb_us / 1e6 if self._exposure and self._exposure.bulb_us else None

    def put(self, values: Mapping[str, ControlValue]) -> None:
        """Set controls, which were checked before.

        Raises:
            InvalidRequest: the camera refuses a value.
            DriverError: it does not answer.
        """
        for name, value in values.items():
            if name not in self._known or self._known[name].access == "read":
                raise _refused(name, value, _ABSENT)
            if name == EXPOSURE and self._exposure is not None:
                self._set(self._exposure.name, self._exposure.choose(int(value)), name, value)
            else:
                self._set(self.names[name], value, name, value)

    def choose(self, name: str, choice: str) -> None:
        """Set a setting of libgphoto2's name to one of its choices."""
        self._set(name, choice, STANDARD.get(name, name), choice)

    def act(self, action: str, on: bool) -> None:
        """Begin or end an action, such as `viewfinder` or `bulb`.

        Raises:
            DriverError: the camera does not do it.
        """
        doing = f"switching {action} {'on' if on else 'off'}"
        widget = self._widget(action)
        if widget is None:
            raise DriverError(f"{doing} failed: the camera cannot do that at present")
        widget.set_value(int(on))
        with failures(doing):
            self._camera.set_single_config(action, widget, CONTEXT)

    def _set(self, name: str, raw: ControlValue, control: str, value: ControlValue) -> None:
        widget = self._widget(name)
        self._stale.add(name)
        if widget is None:
            raise _refused(control, value, _ABSENT)
        choices = _choices(widget)
        # Once more, as the camera may offer less by now: its dial was turned.
        if choices and raw not in choices:
            raise _refused(control, value, f"allowed at present: {', '.join(choices)}")
        if name not in _ASSUMED and widget.get_value() == raw:
            return
        with failures(f"setting {control}"), hearing.wire():
            try:
                widget.set_value(int(raw) if isinstance(raw, bool) else raw)
                self._camera.set_single_config(name, widget, CONTEXT)
            except gp.GPhoto2Error as error:
                if error.code not in _REFUSALS or hidden_failure():
                    raise
                raise _refused(control, value, "the camera refuses it at present") from error

    def _refresh(self) -> None:
        for name in tuple(self._stale):
            if (widget := self._widget(name)) is not None:
                self._take(widget)
                self._stale.discard(name)
            else:  # to be asked for again: it may be back
                self._hide(name)

    def _hide(self, name: str) -> None:
        if self._exposure is not None and name == self._exposure.name:
            self._exposure.bulb_us = 0
        for control, known in self.names.items():
            if known == name:
                self._known[control] = replace(self._known[control], value=None, access="read")

    def _widget(self, name: str) -> Any:
        """Return a setting as it is now; None: the camera does not have it at present.

        Raises:
            DriverError: the camera does not answer.
        """
        doing = f"reading the setting {name!r}"
        give_up = time.monotonic() + _BUSY_S
        while True:
            try:
                with hearing.wire(), failures(doing):
                    return self._camera.get_single_config(name, CONTEXT)
            except Busy:
                if time.monotonic() >= give_up:
                    raise
                time.sleep(_BUSY_PAUSE_S)
            except (DeviceAway, Disturbed):
                raise
            except (DriverError, DriverFault):
                break
        # It may say the same of a setting that is not there and of a camera that is gone.
        with failures(doing):
            kind, data = self._camera.wait_for_event(_ASK_MS, CONTEXT)
        if kind == gp.GP_EVENT_UNKNOWN:
            self.on_event(str(data))
        return None

    def _read_all(self, widget: Any) -> None:
        for child in widget.get_children():
            if child.get_type() == gp.GP_WIDGET_SECTION:
                self._read_all(child)
            elif child.get_name() not in _HIDDEN:
                self._take(child)

    def _take(self, widget: Any) -> None:
        name = widget.get_name()
        if name == "shutterspeed":
            self._exposure = self._exposure or Exposure(name, bulb="bulb" in self.actions)
            control = self._exposure.control(_choices(widget), str(widget.get_value()))
            if control is None:
                self._hide(name)
            else:
                self._keep(name, replace(control, access=_access(widget)))
        elif (control := _control(widget)) is not None:
            self._keep(name, control)

    def _keep(self, name: str, control: Control) -> None:
        known = self.names.setdefault(control.name, name)
        if known == name:  # two settings may bear one name: the first is the right one
            self._known[control.name] = control


def _control(widget: Any) -> Control | None:
    """Return a setting as a control; None for what is not a value, such as a date or a button."""
    name, kind, value = widget.get_name(), widget.get_type(), widget.get_value()
    name = STANDARD.get(name, name)
    about = {"access": _access(widget), "description": widget.get_label()}
    if kind in _CHOICES:
        choices = _choices(widget)
        if value not in choices:  # it must not be set again, not even to put it back
            value = None
            about["access"] = "read" if widget.get_readonly() else "write"
        return Control(name, "string", value, allowed=choices, **about)
    if kind == gp.GP_WIDGET_TOGGLE:
        return Control(name, "bool", bool(value), **about) if value in (0, 1) else None
    if kind == gp.GP_WIDGET_RANGE:
        low, high, step = widget.get_range()
        return Control(name, "float", value, low, high, step or None, **about)
    if kind == gp.GP_WIDGET_TEXT:
        return Control(name, "string", str(value or ""), **{**about, "access": "read"})
    return None


def _refused(control: str, value: ControlValue, why: str) -> InvalidRequest:
    return InvalidRequest(f"controls[{control}]", f"{value!r} cannot be set: {why}")


def _access(widget: Any) -> str:
    return "read" if widget.get_readonly() else "read_write"


def _choices(widget: Any) -> list[str]:
    if widget.get_type() not in _CHOICES:
        return []
    found: Iterator[str] = (widget.get_choice(i) for i in range(widget.count_choices()))
    return list(dict.fromkeys(found))
