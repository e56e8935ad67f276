"""Which of libcamera's controls are offered, under which names, and what they were set to.

Needs no library: libcamera's controls come as plain values, by name.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from camsvc.model.errors import InvalidRequest
from camsvc.model.values import Control, ControlValue

Values = dict[str, bool | int | float]
"""Values by libcamera's names."""

FOCUS_MODE, FOCUS = "focus_mode", "focus_distance_diopters"
EXPOSURE, GAIN, WHITE_BALANCE = "exposure_duration_us", "gain", "white_balance"

_TOLERANCE, _EXPOSURE_STEP_US = 0.05, 60
"""How far a frame may be from what was asked for: a sensor counts exposure in lines, gain and lens
in steps of its own."""

_AE_SEARCHING = 1
"""libcamera's AeState; the others are idle and converged."""


@dataclass(frozen=True, slots=True)
class Known:
    """One control of a camera, as libcamera describes it."""

    minimum: float
    maximum: float
    default: bool | int | float | None


@dataclass(frozen=True, slots=True)
class Number:
    """A control that is a number. `automatic`: 0 leaves it to the camera."""

    name: str
    key: str
    type: str = "float"
    unit: str = ""
    automatic: bool = False
    description: str = ""


_NUMBERS = (
    Number(
        FOCUS,
        "LensPosition",
        unit="[diop]",
        description="0 is infinity, 2 is half a metre. Used when focus_mode is manual.",
    ),
    Number(EXPOSURE, "ExposureTime", "int", "us", automatic=True, description="0: automatic."),
    Number(GAIN, "AnalogueGain", automatic=True, description="0: automatic."),
    Number("exposure_value", "ExposureValue", description="Steps from the automatic exposure."),
    Number("brightness", "Brightness"),
    Number("contrast", "Contrast"),
    Number("saturation", "Saturation"),
    Number("sharpness", "Sharpness"),
)

_CHOICES: dict[str, tuple[str, dict[str, Values]]] = {
    FOCUS_MODE: (
        "AfMode",
        # "auto" focuses once before each still, "continuous" all the time.
        {name: {"AfMode": number} for number, name in enumerate(("manual", "auto", "continuous"))},
    ),
    WHITE_BALANCE: (
        "AwbMode",
        {
            name: {"AwbEnable": True, "AwbMode": number}
            for number, name in enumerate(
                ("auto", "incandescent", "tungsten", "fluorescent", "indoor", "daylight", "cloudy")
            )
        },
    ),
}


class PiControls:
    """The controls of one camera, and what they are set to."""

    def __init__(self, known: Mapping[str, Known]) -> None:
        self._known = known
        self._numbers = [number for number in _NUMBERS if number.key in known]
        self._choices = {
            name: {c: v for c, v in choices.items() if v[key] <= known[key].maximum}
            for name, (key, choices) in _CHOICES.items()
            if key in known
        }
        self.set: dict[str, ControlValue] = {n: next(iter(c)) for n, c in self._choices.items()}
        """What each control is set to."""
        for number in self._numbers:
            default = 0 if number.automatic else known[number.key].default
            self.set[number.name] = _typed(number, self._within(number, default or 0))

    def list(self) -> list[Control]:
        """Return the controls with what they are set to."""
        choices = [
            Control(name, "string", self.set[name], allowed=list(choices))
            for name, choices in self._choices.items()
        ]
        return choices + [self._control(number) for number in self._numbers]

    def change(self, values: Mapping[str, ControlValue]) -> None:
        """Note what controls are to be set to; `library_values` translates them for libcamera.

        Raises:
            InvalidRequest: the camera would ignore a value.
        """
        mode = values.get(FOCUS_MODE, self.set.get(FOCUS_MODE))
        if FOCUS in values and FOCUS_MODE not in values and mode not in ("manual", None):
            raise InvalidRequest(
                f"controls[{FOCUS}]",
                f"{values[FOCUS]} has no effect while {FOCUS_MODE} is {mode!r}; set {FOCUS_MODE} "
                "to 'manual' too",
            )
        for number in self._numbers:
            value, least = values.get(number.name), self._known[number.key].minimum
            if number.automatic and value is not None and 0 < float(value) < least:
                raise InvalidRequest(
                    f"controls[{number.name}]",
                    f"{value} is out of range; allowed: 0 (automatic), or from {least:.12g} on",
                )
        self.set.update(values)

    def library_values(self) -> Values:
        """Return everything as libcamera takes it, where 0 is automatic."""
        wanted: Values = {}
        for name, choices in self._choices.items():
            wanted |= {k: v for k, v in choices[str(self.set[name])].items() if k in self._known}
        for number in self._numbers:
            if number.name != FOCUS or self.set.get(FOCUS_MODE, "manual") == "manual":
                wanted[number.key] = self.set[number.name]  # type: ignore[assignment]
        return wanted

    def reached(self, metadata: Mapping[str, object]) -> bool:
        """Whether a frame was taken with what is set, as far as its metadata say.

        Where exposure is automatic: whether it has settled.
        """
        for number in self._numbers:
            asked, actual = self.library_values().get(number.key), metadata.get(number.key)
            if not isinstance(actual, int | float) or asked is None:
                continue
            step = _EXPOSURE_STEP_US if number.name == EXPOSURE else _TOLERANCE
            if not (number.automatic and asked == 0) and not math.isclose(
                actual, asked, rel_tol=_TOLERANCE, abs_tol=step
            ):
                return False
        automatic = self.set.get(EXPOSURE) == 0 or self.set.get(GAIN) == 0
        return not automatic or _has_settled(metadata)

    def reported(self, metadata: Mapping[str, object]) -> dict[str, ControlValue]:
        """Return what a frame was taken with, of the controls that the camera may set itself."""
        found: dict[str, ControlValue] = {}
        for number in self._numbers:
            actual = metadata.get(number.key)
            if number.name in (FOCUS, EXPOSURE, GAIN) and isinstance(actual, int | float):
                found[number.name] = _typed(number, actual)
        return found

    @property
    def exposure_us(self) -> int:
        """The exposure that was asked for; 0 where it is automatic."""
        return int(self.set.get(EXPOSURE, 0))

    def _control(self, number: Number) -> Control:
        known = self._known[number.key]
        return Control(
            number.name,
            number.type,
            self.set[number.name],
            minimum=0.0 if number.automatic else float(known.minimum),
            maximum=float(known.maximum),
            increment=1 if number.type == "int" else None,
            unit=number.unit,
            description=number.description,
        )

    def _within(self, number: Number, value: float) -> float:
        known = self._known[number.key]
        least = 0 if number.automatic else known.minimum
        return min(max(value, least), known.maximum)


def _has_settled(metadata: Mapping[str, object]) -> bool:
    """Whether automatic exposure is where it wants to be, as far as the metadata say."""
    if "AeState" in metadata:
        return metadata["AeState"] != _AE_SEARCHING
    return metadata.get("AeLocked", True) is not False  # until libcamera 0.4


def _typed(number: Number, value: float) -> int | float:
    return round(value) if number.type == "int" else float(value)
