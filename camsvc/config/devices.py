"""The settings of cameras that are devices, each driver's beside those of every camera."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from camsvc.config.fields import CameraSettings, Count, Flag, FramesPerSecond, Pixels, Seconds
from camsvc.drivers.opencv.source import kind_of


def _source(value: object) -> object:
    if isinstance(value, str) and value.isdigit():
        return int(value)
    number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**16
    if not number and not (isinstance(value, str) and value):
        raise ValueError(
            "allowed: a device's index, or the path or URL of a device, file or stream"
        )
    return value


def _device(value: object) -> object:
    value = _source(value)
    if isinstance(value, str) and not value.startswith("/"):
        raise ValueError("allowed: a device's index, or its path such as /dev/video0")
    return value


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


class OpenCVCameraSettings(CameraSettings):
    """A device, video file or stream that OpenCV reads."""

    driver: Literal["opencv"] = Field(description="what drives it")
    source: Annotated[int | str, BeforeValidator(_source)] = Field(
        description="device index, or path or URL of a device, video file or stream"
    )
    backend: (
        Literal["any", "v4l2", "dshow", "msmf", "avfoundation", "ffmpeg", "gstreamer"] | None
    ) = Field(
        None,
        description="what OpenCV reads with; by default v4l2, dshow or avfoundation for a device, "
        "by platform, and ffmpeg for files and URLs",
    )
    width_px: Pixels | None = Field(None, description="width to ask a device for, in pixels")
    height_px: Pixels | None = Field(None, description="height to ask a device for, in pixels")
    fps: FramesPerSecond | None = Field(None, description="frames per second to ask a device for")
    fourcc: str | None = Field(
        None,
        pattern=r"^([ -~]{4})?$",
        description="format to ask a device for, in four characters such as YUYV; by default MJPG "
        'with v4l2 and dshow; "" leaves the device its own',
    )
    warmup_frames: Annotated[Count, Field(ge=0, le=1000)] | None = Field(
        None, description="frames to drop after opening; by default 5 of a device, else 0"
    )
    loop: Flag = Field(False, description="whether a file begins again at its end")
    repeat_limit: Annotated[Count, Field(ge=0, le=10_000)] | None = Field(
        None,
        description="byte-identical frames in a row after which the device counts as lost; from "
        "2, or 0 for never; by default 30 for a device, else 0",
    )
    read_failures: Annotated[Count, Field(ge=0, le=100)] | None = Field(
        None, description="failed reads in a row to put up with; by default 3 with msmf, else 0"
    )
    # Half of an attempt, so that a silent camera is told as such before its worker is killed.
    read_timeout_s: Seconds = Field(
        5.0,
        description="seconds to wait for a frame, or for a stream to open; rounded up to whole "
        "seconds with v4l2",
    )

    @model_validator(mode="after")
    def _fits_its_source(self) -> Self:
        kind = kind_of(self.source)
        for key in ("width_px", "height_px", "fps", "fourcc"):
            if getattr(self, key) is not None and kind != "device":
                raise ValueError(f"key {key!r} is for devices; this camera's source is a {kind}")
        if (self.width_px is None) != (self.height_px is None):
            raise ValueError("keys 'width_px' and 'height_px' go together: set both or neither")
        if self.loop and kind != "file":
            raise ValueError(f"key 'loop' is for files; this camera's source is a {kind}")
        if self.repeat_limit == 1:
            raise ValueError(
                "key 'repeat_limit': 1 is not allowed; allowed: 0 (off), or 2 and more"
            )
        return self


class V4L2CameraSettings(CameraSettings):
    """A webcam or grabber on Linux; one of the first two keys says which."""

    driver: Literal["v4l2"] = Field(description="what drives it")
    device: Annotated[int | str, BeforeValidator(_device)] | None = Field(
        None, description="the device's index or path, best one of /dev/v4l/by-id or by-path"
    )
    serial: str | None = Field(
        None, min_length=1, description="the USB serial number, wherever it is plugged in"
    )
    width_px: Pixels | None = Field(None, description="width to ask the device for, in pixels")
    height_px: Pixels | None = Field(None, description="height to ask the device for, in pixels")
    fps: FramesPerSecond | None = Field(None, description="frames per second to ask for")
    fourcc: str | None = Field(
        None,
        pattern=r"^([ -~]{4})?$",
        description="format to ask for, in four characters such as YUYV; by default MJPG where "
        'the device has it; "" leaves the device its own',
    )
    warmup_frames: Annotated[Count, Field(ge=0, le=1000)] = Field(
        5, description="frames to drop after opening"
    )
    read_timeout_s: Seconds = Field(5.0, description="seconds to wait for a frame")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.device is None) == (self.serial is None):
            raise ValueError("one of the keys 'device' and 'serial' is needed, and not both")
        if (self.width_px is None) != (self.height_px is None):
            raise ValueError("keys 'width_px' and 'height_px' go together: set both or neither")
        return self


class GPhoto2CameraSettings(CameraSettings):
    """A camera on the USB that libgphoto2 drives, chosen by one or more of the first three keys."""

    driver: Literal["gphoto2"] = Field(description="what drives it")
    model: str | None = Field(
        None, min_length=1, description="a part of the model's name as `camsvc discover` prints it"
    )
    serial: str | None = Field(
        None, min_length=1, description="the serial number; zeros in front do not count"
    )
    port: str | None = Field(
        None,
        pattern=r"^usb:\d{3},\d{3}$",
        description="the USB port as usb:BUS,DEVICE, which changes whenever it is plugged in",
    )
    capture_target: Literal["ram", "card"] | None = Field(
        None,
        description="where the camera keeps pictures until they are fetched; by default what "
        "libgphoto2 takes, mostly ram",
    )
    keep_on_card: Flag = Field(
        True, description="whether pictures stay on the camera when they have been fetched"
    )
    image_format: str | None = Field(
        None,
        min_length=1,
        description="what the camera makes of a shot, in its own words, such as NEF+Fine or "
        "RAW + Large Fine JPEG; by default what it is set to",
    )
    autofocus: Flag = Field(
        True,
        description="whether it focuses before a still; for Nikon, as others are told by their "
        "lens or `focus_mode`",
    )
    # What a viewer needs to aim and focus; a camera's live view is 20 to 30 frames a second, and
    # each costs its battery.
    live_fps: Annotated[FramesPerSecond, Field(le=60)] = Field(
        15.0, description="most frames per second of its live view"
    )
    # A RAW file of 50 MB takes 3 s over USB 2. Less than an attempt, so that a camera that does
    # not focus is told as such before its worker is killed.
    file_timeout_s: Seconds = Field(
        8.0,
        description="seconds after the exposure within which the camera must tell of its pictures",
    )
    iolibs: str | None = Field(
        None,
        min_length=1,
        description="folder of libgphoto2's port libraries, for one's own builds",
    )
    camlibs: str | None = Field(
        None, min_length=1, description="folder of libgphoto2's camera libraries, likewise"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.file_timeout_s >= self.attempt_timeout_s:
            raise ValueError(
                f"key 'file_timeout_s': {self.file_timeout_s:g} is not less than "
                f"attempt_timeout_s, {self.attempt_timeout_s:g}; allowed: less"
            )
        return self


EvenPixels = Annotated[Pixels, AfterValidator(_even)]


class Picamera2CameraSettings(CameraSettings):
    """A camera module of a Raspberry Pi."""

    driver: Literal["picamera2"] = Field(description="what drives it")
    source: Annotated[int | str, BeforeValidator(_module)] = Field(
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
    warmup_frames: Annotated[Count, Field(ge=0, le=1000)] = Field(
        5, description="frames to drop after opening, while exposure and white balance settle"
    )
    # Some tenths of a second are usual; a stuck ISP costs this, and 0.8 s to restart it.
    frame_timeout_s: Seconds = Field(
        3.0, description="seconds to wait for a frame, beside an exposure that was set"
    )

    @model_validator(mode="after")
    def _sizes_are_whole(self) -> Self:
        for prefix in ("", "live_"):
            width, height = f"{prefix}width_px", f"{prefix}height_px"
            if (getattr(self, width) is None) != (getattr(self, height) is None):
                raise ValueError(f"keys {width!r} and {height!r} go together: set both or neither")
        return self
