"""The settings of a webcam or grabber that is read from the kernel."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from camsvc.drivers.settings import (
    SELECTS,
    DriverSettings,
    FourCC,
    Frames,
    FramesPerSecond,
    Pixels,
    Seconds,
    require_both,
)


def _device(value: object) -> object:
    if isinstance(value, str) and value.isdigit():
        return int(value)
    index = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**16
    if not index and not (isinstance(value, str) and value.startswith("/")):
        raise ValueError("allowed: a device's index, or its path such as /dev/video0")
    return value


class V4L2Settings(DriverSettings):
    """A webcam or grabber on Linux; one of the first two keys says which."""

    device: Annotated[int | str | None, BeforeValidator(_device), SELECTS] = Field(
        None, description="the device's index or path, best one of /dev/v4l/by-id or by-path"
    )
    serial: Annotated[str | None, SELECTS] = Field(
        None, min_length=1, description="the USB serial number, wherever it is plugged in"
    )
    width_px: Pixels | None = Field(None, description="width to ask the device for, in pixels")
    height_px: Pixels | None = Field(None, description="height to ask the device for, in pixels")
    fps: FramesPerSecond | None = Field(None, description="frames per second to ask for")
    fourcc: FourCC | None = Field(
        None,
        description="format to ask for, in four characters such as YUYV; by default MJPG where "
        'the device has it; "" leaves the device its own',
    )
    # Cameras need about as many to settle exposure and white balance.
    warmup_frames: Frames = Field(5, description="frames to drop after opening")
    # Half of an attempt, so that a silent camera is reported before its worker is killed.
    read_timeout_s: Seconds = Field(5.0, description="seconds to wait for a frame")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.device is None) == (self.serial is None):
            raise ValueError("one of the keys 'device' and 'serial' is needed, and not both")
        require_both(self, "width_px", "height_px")
        return self
