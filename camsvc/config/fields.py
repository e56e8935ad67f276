"""What all tables of the settings share: kinds of values, and the keys that every camera has."""

import math
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
)

from camsvc.model.options import CameraOptions, Launch
from camsvc.model.registry import BUILTIN, PYTHON
from camsvc.model.values import ControlValue

_DAY_S = 86_400.0
_MOST_PX = 65_500
"""The largest side of a JPEG."""


Count = Annotated[int, Strict()]
Flag = Annotated[bool, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Seconds = Annotated[Number, Field(gt=0, le=_DAY_S)]
SecondsOrZero = Annotated[Number, Field(ge=0, le=_DAY_S)]
Pixels = Annotated[Count, Field(ge=1, le=_MOST_PX)]
FramesPerSecond = Annotated[Number, Field(gt=0, le=1000)]


class Table(BaseModel):
    """A table of the settings file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def plain(value: object) -> object:
    """Refuse what JSON cannot carry: dates, infinities and numbers that are none."""
    match value:
        case float() if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        case dict():
            for member in value.values():
                plain(member)
        case list():
            for member in value:
                plain(member)
        case bool() | int() | float() | str():
            pass
        case _:
            kind = type(value).__name__
            raise ValueError(f"{kind} {value} is not allowed; allowed: text, numbers, true, false")
    return value


def _control(value: object) -> object:
    if isinstance(value, dict | list):
        raise ValueError("allowed: text, a number, true or false")
    return plain(value)


def _variable(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise ValueError("allowed: names of environment variables, without '='")
    return name


class CameraSettings(Table):
    """`[[cameras]]`: the keys that every camera has."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="the camera's name for clients")
    driver: str = Field(description="what drives it")
    # The first one, one after a soft retry, and one with the device opened anew.
    attempts: Annotated[Count, Field(ge=1, le=10)] = Field(
        3, description="how often a capture is tried before it fails"
    )
    # Twenty times what a slow network camera takes; an exposure asked for is added.
    attempt_timeout_s: Seconds = Field(10.0, description="seconds that one attempt may take")
    # A webcam opens in 0.3 s, a camera behind a weak network or PTP in several.
    open_timeout_s: Seconds = Field(15.0, description="seconds that opening the device may take")
    stall_timeout_s: Seconds = Field(
        2.0, description="seconds without a frame after which live view counts as stalled"
    )
    queue_limit: Annotated[Count, Field(ge=0, le=1000)] = Field(
        16, description="captures that may wait for the camera at once"
    )
    # Forty cost a core some 15 %; far more than that is a job for a media server.
    max_viewers: Annotated[Count, Field(ge=1, le=10_000)] = Field(
        64, description="live view streams that may be open at once"
    )
    open_at_start: Flag = Field(
        False, description="open the device in the background at start, not at first use"
    )
    idle_close_s: SecondsOrZero = Field(
        0.0, description="seconds without use after which the device is closed; 0: never"
    )
    python: str | None = Field(
        None, min_length=1, description="another Python interpreter for the driver's process"
    )
    env: dict[Annotated[str, AfterValidator(_variable)], str] = Field(
        default_factory=dict, description="environment variables of the driver's process"
    )
    controls: dict[str, Annotated[ControlValue, BeforeValidator(_control)]] = Field(
        default_factory=dict, description="control values that are set after every open"
    )

    @property
    def driver_path(self) -> str:
        """The driver's class as "package.module:Class"."""
        return BUILTIN.get(self.driver, self.driver)

    @property
    def launch(self) -> Launch:
        """What the camera's worker is started with."""
        return Launch.of(self.driver_path, self.python or PYTHON.get(self.driver), self.env)

    @property
    def camera_options(self) -> CameraOptions:
        """What the camera is run with."""
        common = self.model_dump(include=set(CameraOptions.__slots__))
        return CameraOptions(**common, driver_settings=self.driver_settings())

    def driver_settings(self) -> dict[str, object]:
        """Return the driver's own keys as plain values; those without a value are left out."""
        common = set(CameraSettings.model_fields)
        return self.model_dump(mode="json", exclude=common, exclude_none=True)
