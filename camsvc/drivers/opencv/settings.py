"""The settings of what OpenCV reads."""

import re
import sys
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, computed_field, model_validator

from camsvc.drivers.opencv import address
from camsvc.drivers.settings import (
    SELECTS,
    Count,
    DriverSettings,
    Flag,
    FourCC,
    Frames,
    FramesPerSecond,
    Pixels,
    Seconds,
    Secret,
    require_both,
)

Backend = Literal["any", "v4l2", "dshow", "msmf", "avfoundation", "ffmpeg", "gstreamer"]
Kind = Literal["device", "file", "url"]

_PLATFORM_BACKEND: dict[str, Backend] = {
    "linux": "v4l2",
    "win32": "dshow",
    "darwin": "avfoundation",
}


def _source(value: object) -> object:
    if isinstance(value, str) and value.isdigit():
        return int(value)
    number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**16
    if not number and not (isinstance(value, str) and value):
        raise ValueError(
            "allowed: a device's index, or the path or URL of a device, file or stream"
        )
    if not isinstance(value, str) or _kind_of(value) != "url":
        return value
    if value.partition(":")[0].lower() in ("http", "https", "rtsp", "rtsps"):
        address.parse(value)
    return SecretStr(value)


def _fingerprint(value: object) -> object:
    """Bring a certificate's fingerprint, as other programs write it, to plain hexadecimal."""
    return value.replace(":", "").strip().lower() if isinstance(value, str) else value


def _kind_of(source: int | str | SecretStr) -> Kind:
    if isinstance(source, SecretStr):
        return "url"
    if isinstance(source, int) or source.startswith("/dev/"):
        return "device"
    return "url" if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source) else "file"


def _is_device(table: dict[str, Any]) -> bool:
    return _kind_of(table["source"]) == "device"


def _backend(table: dict[str, Any]) -> Backend:
    return _PLATFORM_BACKEND.get(sys.platform, "any") if _is_device(table) else "ffmpeg"


def _fourcc(table: dict[str, Any]) -> str:
    # Uncompressed, a USB 2 webcam gives about 10 frames a second at 1280 x 720; and V4L2 hands
    # MJPG through for 1.5 ms of CPU a frame.
    return "MJPG" if _is_device(table) and table["backend"] in ("v4l2", "dshow") else ""


def _warmup_frames(table: dict[str, Any]) -> int:
    # Cameras need about as many to settle exposure and white balance.
    return 5 if _is_device(table) else 0


def _repeat_limit(table: dict[str, Any]) -> int:
    # A second of byte-identical frames: a sensor's noise alone makes any two differ.
    return 30 if _is_device(table) else 0


def _read_failures(table: dict[str, Any]) -> int:
    # Media Foundation loses 5 to 10 % of reads on good cameras, and retries fix that. Elsewhere a
    # failed read means a lost device, which retries only delay.
    return 3 if table["backend"] == "msmf" else 0


class OpenCVSettings(DriverSettings):
    """A device, video file or stream that OpenCV reads."""

    # A URL is a secret as a whole: users and passwords are in front, tokens in paths and queries.
    source: Annotated[int | str | Secret, BeforeValidator(_source), SELECTS] = Field(
        description="device index, or path or URL of a device, video file or stream"
    )
    backend: Backend = Field(
        default_factory=_backend,
        description="what OpenCV reads with; by default v4l2, dshow or avfoundation for a device, "
        "by platform, and ffmpeg for files and URLs",
    )
    width_px: Pixels | None = Field(None, description="width to ask a device for, in pixels")
    height_px: Pixels | None = Field(None, description="height to ask a device for, in pixels")
    fps: FramesPerSecond | None = Field(None, description="frames per second to ask a device for")
    fourcc: FourCC = Field(
        default_factory=_fourcc,
        description="format to ask a device for, in four characters such as YUYV; by default MJPG "
        'with v4l2 and dshow; "" leaves the device its own',
    )
    warmup_frames: Frames = Field(
        default_factory=_warmup_frames,
        description="frames to drop after opening; by default 5 of a device, else 0",
    )
    loop: Flag = Field(False, description="whether a file begins again at its end")
    repeat_limit: Annotated[Count, Field(ge=0, le=10_000)] = Field(
        default_factory=_repeat_limit,
        description="byte-identical frames in a row after which the device counts as lost; from "
        "2, or 0 for never; by default 30 for a device, else 0",
    )
    read_failures: Annotated[Count, Field(ge=0, le=100)] = Field(
        default_factory=_read_failures,
        description="failed reads in a row to tolerate; by default 3 with msmf, else 0",
    )
    # Half of an attempt, so that a silent camera is reported before its worker is killed.
    read_timeout_s: Seconds = Field(
        5.0,
        description="seconds to wait for a frame, or for a server's answer; a stream on the "
        "network may pause three times as long; rounded up to whole seconds with v4l2",
    )
    # As many as a viewer needs to see what goes on; cameras make a snapshot in 0.05 to 0.5 s.
    snapshot_fps: FramesPerSecond = Field(
        5.0, description="requests per second at most, in live view of a URL that gives one picture"
    )
    snapshots_behind: Annotated[Count, Field(ge=0, le=10)] = Field(
        0,
        description="how many pictures a URL that gives one picture is behind: so many more are "
        "requested for a still and dropped",
    )
    tls_fingerprint: Annotated[
        str | None, BeforeValidator(_fingerprint), Field(pattern=r"^[0-9a-f]{64}$")
    ] = Field(
        None,
        description="SHA-256 of the one certificate to accept from an https or rtsps camera; by "
        "default those that the system trusts",
    )

    @computed_field
    def kind(self) -> Kind:
        """What the source is; the driver finds it in its table."""
        return _kind_of(self.source)

    @model_validator(mode="after")
    def _fits_its_source(self) -> Self:
        kind = _kind_of(self.source)
        for key in ("width_px", "height_px", "fps", "fourcc"):
            if key in self.model_fields_set and kind != "device":
                raise ValueError(f"key {key!r} is for devices; this camera's source is a {kind}")
        require_both(self, "width_px", "height_px")
        for key in ("snapshot_fps", "snapshots_behind", "tls_fingerprint"):
            if key in self.model_fields_set and kind != "url":
                raise ValueError(f"key {key!r} is for URLs; this camera's source is a {kind}")
        if self.loop and kind != "file":
            raise ValueError(f"key 'loop' is for files; this camera's source is a {kind}")
        if self.repeat_limit == 1:
            raise ValueError(
                "key 'repeat_limit': 1 is not allowed; allowed: 0 (off), or 2 and more"
            )
        return self
