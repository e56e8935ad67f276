"""The settings of a camera module of a Raspberry Pi."""

from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from camsvc.drivers.settings import (
    SELECTS,
    DriverSettings,
    Flag,
    Frames,
    FramesPerSecond,
    Pixels,
    Seconds,
    require_both,
)


def _even(value: int) -> int:
    if value % 2:
        raise ValueError(f"allowed: an even number, such as {value + 1}")
    return value


def _module(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise ValueError("allowed: a camera's number from 0, its libcamera id, or its model")
    if isinstance(value, int) and not 0 <= value < 2**8:
        raise ValueError("allowed: a camera's number from 0 to 255, its libcamera id, or its model")
    return value


EvenPixels = Annotated[Pixels, AfterValidator(_even)]


class Picamera2Settings(DriverSettings):
    """A camera module of a Raspberry Pi."""

    source: Annotated[int | str, BeforeValidator(_module), SELECTS] = Field(
        0, description="the camera's number, its libcamera id, or its model where there is one such"
    )
    width_px: EvenPixels | None = Field(
        None, description="width of stills in pixels, even; by default the sensor's"
    )
    height_px: EvenPixels | None = Field(
        None, description="height of stills in pixels, even; by default the sensor's"
    )
    live_width_px: EvenPixels | None = Field(
        None,
        description="width of live view in pixels, even; by default the stills' shape within "
        "1280x960",
    )
    live_height_px: EvenPixels | None = Field(
        None, description="height of live view in pixels, even; as live_width_px"
    )
    fps: FramesPerSecond = Field(30.0, description="frames per second of live view, at most")
    capture_during_live_view: Flag = Field(
        False,
        description="whether stills are taken without pausing live view, both at the rate of the "
        "sensor's full size",
    )
    # Cameras need about as many to settle exposure and white balance.
    warmup_frames: Frames = Field(
        5, description="frames to drop after opening, while exposure and white balance settle"
    )
    # Some tenths of a second are usual; a stuck ISP costs this, and 0.8 s to restart it.
    frame_timeout_s: Seconds = Field(
        3.0, description="seconds to wait for a frame, in addition to an exposure that was set"
    )

    @model_validator(mode="after")
    def _sizes_are_whole(self) -> Self:
        require_both(self, "width_px", "height_px")
        require_both(self, "live_width_px", "live_height_px")
        return self
