"""The settings of any camera: those that are no devices, and which model a table has."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from camsvc.config.devices import (
    GPhoto2CameraSettings,
    OpenCVCameraSettings,
    Picamera2CameraSettings,
    V4L2CameraSettings,
)
from camsvc.config.fields import (
    CameraSettings,
    Count,
    Flag,
    FramesPerSecond,
    Pixels,
    Seconds,
    SecondsOrZero,
    Table,
    plain,
)

_TIMED = ("slow", "disconnect")
_PICTURE_FAULTS = ("stale", "corrupt")


class Fault(Table):
    """`[[cameras.faults]]`: one scripted fault of a simulated camera."""

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


class SimulatedCameraSettings(CameraSettings):
    """A camera that is not there, and fails when told to."""

    driver: Literal["simulated"] = Field(description="what drives it")
    # In a smaller picture, the number of the frame painted into it is not readable.
    width_px: Annotated[Pixels, Field(ge=160, le=8192)] = Field(
        1280, description="width of its pictures in pixels"
    )
    height_px: Annotated[Pixels, Field(ge=120, le=8192)] = Field(
        720, description="height of its pictures in pixels"
    )
    fps: FramesPerSecond = Field(30.0, description="frames per second of its live view")
    capture_duration_s: SecondsOrZero = Field(
        0.1, description="seconds that a still takes, beside its exposure"
    )
    prepare_duration_s: SecondsOrZero = Field(
        0.0, description="seconds that it takes before the trigger, as for mirror and focus"
    )
    open_duration_s: SecondsOrZero = Field(0.0, description="seconds that opening takes")
    capture_during_live_view: Flag = Field(
        False, description="whether it takes stills without pausing its live view"
    )
    reports_progress: Flag = Field(
        False, description="whether it tells how far a still is, where that takes 0.5 s or more"
    )
    faults: tuple[Fault, ...] = Field((), description="what is to go wrong")


class PluginCameraSettings(CameraSettings):
    """A camera with a driver of one's own, named by its path."""

    driver: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description='the driver\'s class as "package.module:Class"',
    )
    options: Annotated[dict[str, Any], BeforeValidator(plain)] = Field(
        default_factory=dict, description="the driver's own keys"
    )

    def driver_settings(self) -> dict[str, object]:
        """Return the `options` table."""
        return dict(self.model_dump()["options"])


def _tag(camera: object) -> str | None:
    """Return the name of the model of a camera's table."""
    if isinstance(camera, Mapping):
        driver = camera.get("driver")
    else:
        driver = getattr(camera, "driver", None)
    if not isinstance(driver, str):
        return None
    return "plugin" if ":" in driver else driver


AnyCameraSettings = Annotated[
    Annotated[SimulatedCameraSettings, Tag("simulated")]
    | Annotated[OpenCVCameraSettings, Tag("opencv")]
    | Annotated[V4L2CameraSettings, Tag("v4l2")]
    | Annotated[GPhoto2CameraSettings, Tag("gphoto2")]
    | Annotated[Picamera2CameraSettings, Tag("picamera2")]
    | Annotated[PluginCameraSettings, Tag("plugin")],
    Discriminator(_tag),
]
