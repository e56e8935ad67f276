"""What an OpenCV camera reads from: its settings, what kind of source it is, why it is not there.

Messages reach clients, so none names a path or an address.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from camsvc.drivers.linux import holders, video_nodes
from camsvc.model.errors import DeviceAway, DriverError, DriverFault
from camsvc.model.values import Finding

BACKENDS = ("any", "v4l2", "dshow", "msmf", "avfoundation", "ffmpeg", "gstreamer")

_PLATFORM_BACKEND = {"linux": "v4l2", "win32": "dshow", "darwin": "avfoundation"}

_MJPG_FIRST = ("v4l2", "dshow")
"""Where MJPG is asked for unless the settings say otherwise. Uncompressed, a USB 2 webcam gives
about 10 frames a second at 1280 x 720; and V4L2 hands MJPG through for 1.5 ms of CPU a frame."""

_FLAKY_READS = {"msmf": 3}
"""Reads in a row that may fail: Media Foundation loses 5 to 10 % of them on good cameras, and
retries mend that. Elsewhere a failed read means a lost device, which retries only delay."""

_WARMUP_FRAMES = 5
"""Cameras need about as many to settle exposure and white balance."""

_REPEAT_LIMIT = 30
"""A second of byte-identical frames: a sensor's noise alone makes any two differ."""


@dataclass(frozen=True, slots=True)
class Source:
    """The driver's keys in the settings. Make one with `of`, which knows the defaults."""

    source: int | str
    backend: str
    fourcc: str
    warmup_frames: int
    repeat_limit: int
    read_failures: int
    read_timeout_s: float = 5.0
    loop: bool = False
    width_px: int | None = None
    height_px: int | None = None
    fps: float | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Source":
        """Return a settings table's source with all defaults filled in.

        Raises:
            DriverFault: `source` is missing, or the backend is unknown.
        """
        given = {f.name: settings[f.name] for f in fields(cls) if settings.get(f.name) is not None}
        if "source" not in given:
            raise DriverFault("the settings' `source` is missing: a device index, path or URL")
        kind = kind_of(given["source"])
        device = kind == "device"
        platform = _PLATFORM_BACKEND.get(sys.platform, "any") if device else "ffmpeg"
        backend = given.setdefault("backend", platform)
        if backend not in BACKENDS:
            raise DriverFault(
                f"the settings' backend {backend!r} is unknown; allowed: {', '.join(BACKENDS)}"
            )
        defaults = {
            "fourcc": "MJPG" if device and backend in _MJPG_FIRST else "",
            "warmup_frames": _WARMUP_FRAMES if device else 0,
            "repeat_limit": _REPEAT_LIMIT if device else 0,
            "read_failures": _FLAKY_READS.get(backend, 0),
        }
        return cls(**{**defaults, **given})

    @property
    def kind(self) -> str:
        """What it is: "device", "file" or "url"."""
        return kind_of(self.source)

    def check(self) -> None:
        """Refuse what is plainly not there.

        Raises:
            DriverFault: the file does not exist, is a folder, or may not be read.
            DeviceAway: the device is not attached, or may not be used.
        """
        if self.kind == "file":
            _check_file(Path(str(self.source)))
        elif self.kind == "device" and sys.platform == "linux":
            _check_device(video_nodes.device_path(self.source))

    def findings(self) -> list[Finding]:
        """Return what can be seen of the source without opening it, for an operator."""
        try:
            self.check()
        except (DriverError, DriverFault) as error:
            return [Finding(False, str(error))]
        if self.kind != "device" or sys.platform != "linux":
            return []
        path = video_nodes.device_path(self.source)
        node = video_nodes.find(self.source)
        found = [Finding(True, f"attached: {node.name} at {node.path}")] if node else []
        return found + holders.holding(path)

    def closed(self) -> Exception:
        """Return the error of a source that did not open, with what to look at."""
        match self.kind:
            case "file":
                return DriverFault(
                    "the file of the settings' `source` cannot be read as a video: it is cut off, "
                    "of an unknown format, or no video at all"
                )
            case "url":
                return DriverError(
                    "the stream of the settings' `source` did not open within "
                    f"{self.read_timeout_s:g} s: check its address, user and password, and that "
                    "it is being sent"
                )
        if sys.platform == "linux" and (
            held := holders.holders(video_nodes.device_path(self.source))
        ):
            return holders.in_use(held)
        return DriverError(
            "the camera of the settings' `source` did not open: another program may hold it (only "
            "one can), or it is not attached, or it gives no format that OpenCV reads"
        )


def kind_of(source: int | str) -> str:
    """Return what a `source` is: "device", "file" or "url"."""
    if isinstance(source, int) or source.startswith("/dev/"):
        return "device"
    return "url" if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source) else "file"


def _check_file(path: Path) -> None:
    subject = "the video file of the settings' `source`"
    if path.is_dir():
        raise DriverFault(f"{subject} is a folder; allowed: a video file")
    if not path.exists():
        raise DriverFault(f"{subject} does not exist")
    if not os.access(path, os.R_OK):
        raise DriverFault(f"{subject} may not be read by the service's user")


def _check_device(path: Path) -> None:
    # Both temporary: cameras are plugged in, and udev sets a new node's rights a moment later.
    if not path.exists():
        raise DeviceAway(
            "no camera is attached where the settings' `source` says; `camsvc discover` lists "
            "those that are"
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise DeviceAway(
            "the service's user may not use the camera of the settings' `source`: add it to the "
            "group that owns the device (mostly `video`)"
        )
