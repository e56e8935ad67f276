"""What V4L2 webcams have in common, whatever reads them: their controls, and how they are set.

Where the kernel counts in units of its own, the control is in ours: exposure is given in
microseconds, not in steps of 100. A switch between automatic and manual is a choice by these names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from camsvc.model.errors import InvalidRequest
from camsvc.model.values import Control, ControlValue

EXPOSURE_MODE, EXPOSURE = "exposure_mode", "exposure_duration_us"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a control in addition to what the device says.

    `choices` are names for its values, for several values one name, the one to try first in front.
    A number's raw value times `scale` is the control's value. `mode` names what must be manual
    before the device takes a value.
    """

    name: str
    scale: int = 1
    unit: str = ""
    mode: str = ""
    choices: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def control(self, raw: float | None) -> Control:
        """Return the control at a raw value; None: it is unknown."""
        if self.choices:
            value = next((name for name, raws in self.choices.items() if raw in raws), None)
            return Control(self.name, "string", value, allowed=[*self.choices])
        return Control(
            self.name,
            "int",
            None if raw is None else round(raw) * self.scale,
            increment=self.scale,
            unit=self.unit,
            description="" if self.unit else "In the device's own steps.",
        )

    def raws(self, value: ControlValue) -> Sequence[int]:
        """Return the raw values that stand for a value, the one to try first in front."""
        return self.choices[str(value)] if self.choices else [round(int(value) / self.scale)]

    def refusal(self, wanted: ControlValue, value: ControlValue | None) -> InvalidRequest:
        """Return the error of a device that did not take a value, and stays at another."""
        hint = f"; it may need {self.mode} = manual" if self.mode else ""
        text = f"{wanted} is not accepted by the device, which stays at {value}{hint}"
        return InvalidRequest(f"controls[{self.name}]", text)


_SWITCH = {"auto": (1,), "manual": (0,)}
_KNOWN = {
    known.name: known
    for known in (
        # V4L2's menu: automatic, manual, shutter priority, aperture priority. Webcams know manual
        # and aperture priority, which is what they call automatic.
        Known(EXPOSURE_MODE, choices={"auto": (3, 0), "manual": (1, 2)}),
        Known(EXPOSURE, scale=100, unit="us", mode=EXPOSURE_MODE),
        Known("focus_mode", choices=_SWITCH),
        # Not focus_distance_diopters: the steps of UVC focus have no known distance.
        Known("focus_absolute", mode="focus_mode"),
        Known("white_balance_mode", choices=_SWITCH),
        Known("white_balance", unit="K", mode="white_balance_mode"),
        Known("gain", mode=EXPOSURE_MODE),
    )
}


def known(name: str) -> Known:
    """Return what is known of a control."""
    return _KNOWN.get(name) or Known(name)


def in_turn(values: Mapping[str, ControlValue]) -> list[tuple[str, ControlValue]]:
    """Return controls in the order in which they are to be set.

    What a mode governs is taken while that is manual: so manual comes before it, automatic after.
    """

    def turn(wanted: tuple[str, ControlValue]) -> int:
        name, value = wanted
        return (0 if value == "manual" else 2) if name.endswith("_mode") else 1

    return sorted(values.items(), key=turn)


def exposure_us(value_of: Callable[[str], ControlValue | None]) -> int | None:
    """Return the exposure; on automatic, devices report the one that was set last."""
    exposure = value_of(EXPOSURE) if value_of(EXPOSURE_MODE) == "manual" else None
    return exposure if isinstance(exposure, int) else None


def unfulfilled(settings: Mapping[str, Any], got: Mapping[str, str]) -> dict[str, str]:
    """Return the size, fps and fourcc that settings ask for, where a device made others of them."""
    width, height, fps = settings["width_px"], settings["height_px"], settings["fps"]
    asked = {
        "size": f"{width}x{height}" if width else "",
        "fps": f"{fps:g}" if fps else "",
        "fourcc": settings["fourcc"] or "",
    }
    return {key: value for key, value in asked.items() if value and value != got[key]}
