"""The settings of a simulated camera, and the faults that it is to have."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from camsvc.drivers.settings import (
    Count,
    DriverSettings,
    Flag,
    FramesPerSecond,
    Pixels,
    Seconds,
    SecondsOrZero,
    Table,
)

_TIMED = ("slow", "disconnect")
_PICTURE_FAULTS = ("stale", "corrupt")


class Fault(Table):
    """`[[cameras.faults]]`: one scripted fault."""

    on: Literal["open", "read", "prepare", "capture", "set_controls", "close"] = Field(
        description="the call that it strikes"
    )
    kind: Literal[
        "hang",
        "hang_gil",
        "crash",
        "exit",
        "error",
        "permanent",
        "slow",
        "stale",
        "corrupt",
        "disconnect",
        "ignore_sigterm_hang",
    ] = Field(description="what happens then")
    at: Annotated[Count, Field(ge=1, le=2**31)] = Field(
        1, description="the first such call that it strikes, counted over restarts"
    )
    times: Annotated[Count, Field(ge=0, le=2**31)] = Field(
        1, description="how many such calls in a row it strikes; 0: all from then on"
    )
    seconds: Seconds | None = Field(None, description="seconds that slow and disconnect last")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind in _TIMED and self.seconds is None:
            raise ValueError(f"kind {self.kind!r} needs the key 'seconds': how long it lasts")
        if self.kind not in _TIMED and self.seconds is not None:
            raise ValueError(
                f"kind {self.kind!r} takes no key 'seconds'; allowed with: {', '.join(_TIMED)}"
            )
        if self.kind in _PICTURE_FAULTS and self.on not in ("read", "capture"):
            raise ValueError(
                f"kind {self.kind!r} cannot strike {self.on!r}; allowed: read, capture"
            )
        return self


class SimulatedSettings(DriverSettings):
    """A camera that does not exist, and fails on request."""

    # In a smaller picture, the number of the frame painted into it is not readable.
    width_px: Annotated[Pixels, Field(ge=160, le=8192)] = Field(
        1280, description="width of its pictures in pixels"
    )
    height_px: Annotated[Pixels, Field(ge=120, le=8192)] = Field(
        720, description="height of its pictures in pixels"
    )
    fps: FramesPerSecond = Field(30.0, description="frames per second of its live view")
    capture_duration_s: SecondsOrZero = Field(
        0.1, description="seconds that a still takes, in addition to its exposure"
    )
    prepare_duration_s: SecondsOrZero = Field(
        0.0, description="seconds that it takes before the trigger, as for mirror and focus"
    )
    open_duration_s: SecondsOrZero = Field(0.0, description="seconds that opening takes")
    capture_during_live_view: Flag = Field(
        False, description="whether it takes stills without pausing its live view"
    )
    reports_progress: Flag = Field(
        False, description="whether it reports the progress of stills of 0.5 s or more"
    )
    faults: tuple[Fault, ...] = Field((), description="what is to go wrong")
