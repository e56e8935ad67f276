"""A device that OpenCV reads, such as a webcam on other systems than Linux.

What OpenCV reports is not believed but read back: it accepts formats, sizes and rates that the
device then does not give. Nor does it report a loss: the handle of an unplugged device stays
"open", and each read of it fails at once, or (other platforms) returns its last frame for ever.
"""

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cv2

from camsvc.drivers.base import Driver, DriverState
from camsvc.drivers.linux import video_nodes, webcam
from camsvc.drivers.opencv import source
from camsvc.drivers.opencv.handle import Handle
from camsvc.drivers.opencv.repeats import Repeats
from camsvc.model.errors import DeviceAway, DriverError
from camsvc.model.values import Control, ControlValue, DeviceInfo, Frame, Shot

_BUFFERS, _MOST_BUFFERS = 4, 10
"""How many frames V4L2 keeps when the device does not say, and at most."""

PROPERTIES = {
    webcam.EXPOSURE_MODE: "AUTO_EXPOSURE",
    "focus_mode": "AUTOFOCUS",
    webcam.EXPOSURE: "EXPOSURE",
    "focus_absolute": "FOCUS",
    "gain": "GAIN",
    "brightness": "BRIGHTNESS",
    "contrast": "CONTRAST",
    "saturation": "SATURATION",
    "sharpness": "SHARPNESS",
}
"""The controls, with OpenCV's names for them, without CAP_PROP_. V4L2 devices only: elsewhere
OpenCV does not distinguish a property of the device from one it lacks, and counts exposure in
powers of two. It reports no ranges: a value is set, read back, and refused when it differs."""


class DeviceSource(Driver):
    """A device. A still is begun after it was asked for: what was buffered is dropped first."""

    name = "opencv"

    def __init__(self, settings: Mapping[str, Any], state: DriverState) -> None:
        self._settings = settings
        self._handle: Handle | None = None
        self._repeats = Repeats(settings["repeat_limit"])
        self._properties: dict[str, int] = {}
        """The controls, with OpenCV's numbers for them."""
        self._node = ""

    def open(self) -> DeviceInfo:
        """Open the device, ask for what the settings want, and report what it gives instead.

        Raises:
            DeviceAway: it is not there, or is held.
            DriverError: it did not open, or gives no frames.
            DriverFault: the backend is not built in.
        """
        settings = self._settings
        source.check(settings)
        # OpenCV takes this in whole seconds, from the environment, once: at its first grab. The
        # camera's `env` table has precedence.
        timeout = str(math.ceil(settings["read_timeout_s"]))
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", timeout)
        self._handle = handle = Handle(settings, settings["source"])
        # What the handle stands for: a name such as by-id may lead elsewhere later.
        if sys.platform == "linux":
            self._node = os.path.realpath(video_nodes.device_path(settings["source"]))
        self._configure(handle)
        buffers = handle.get(cv2.CAP_PROP_BUFFERSIZE)
        self._buffers = int(buffers) if 1 <= buffers <= _MOST_BUFFERS else _BUFFERS
        if settings["backend"] == "v4l2":
            ids = {name: getattr(cv2, f"CAP_PROP_{prop}") for name, prop in PROPERTIES.items()}
            self._properties = {name: i for name, i in ids.items() if handle.get(i) != -1}
        for _ in range(settings["warmup_frames"]):
            self._grab()
        if settings["warmup_frames"] and settings["repeat_limit"]:
            self._repeats.note(handle.retrieve())
        return self._info(handle)

    def capture(self, shot: Shot) -> Frame:
        """Return a frame begun after this call.

        Raises:
            DriverError: no frame comes, it is empty, or it is the last one over and over.
        """
        # One more than is buffered: the frame under way may have been exposed already.
        for _ in range(self._buffers + 1):
            self._grab()
        taken = self.read()
        # Not of live frames: each value costs a request to the device.
        values = {control.name: control.value for control in self.controls()}
        return replace(taken, exposure_us=webcam.exposure_us(values.get))

    def read(self) -> Frame:
        return self._repeats.next_new(lambda: (self._grab(), self._open_one.retrieve()))

    def controls(self) -> list[Control]:
        """Return what the device reports; OpenCV does not know the ranges."""
        get = self._open_one.get
        return [webcam.known(name).control(get(i)) for name, i in self._properties.items()]

    def set_controls(self, values: Mapping[str, ControlValue]) -> None:
        """Set, and read back what the device made of it.

        Raises:
            InvalidRequest: the device refused a value, or took another.
        """
        handle = self._open_one
        for name, wanted in webcam.in_turn(values):
            known, number = webcam.known(name), self._properties[name]
            raws = known.raws(wanted)
            taken = any(handle.set(number, raw) for raw in raws)
            value = known.control(handle.get(number)).value
            if not taken or value != known.control(raws[0]).value:
                raise known.refusal(wanted, value)

    def health_check(self) -> None:
        """Notice that it was unplugged, which OpenCV's handle does not say."""
        if self._node and not os.path.exists(self._node):
            raise DeviceAway("the camera was unplugged")

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.release()

    @property
    def _open_one(self) -> Handle:
        if self._handle is None:
            raise DriverError("the camera is not open")
        return self._handle

    def _configure(self, handle: Handle) -> None:
        """Ask for what the settings want. The order is V4L2's: a new format resets the rest."""
        settings = self._settings
        handle.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        asked = {
            cv2.CAP_PROP_FOURCC: int.from_bytes(settings["fourcc"].encode(), "little"),
            cv2.CAP_PROP_FRAME_WIDTH: settings["width_px"],  # V4L2 takes it with its height only
            cv2.CAP_PROP_FRAME_HEIGHT: settings["height_px"],
            cv2.CAP_PROP_FPS: settings["fps"],
        }
        for prop, value in asked.items():
            if value:
                handle.set(prop, value)
        if settings["backend"] == "v4l2" and handle.fourcc in ("MJPG", "JPEG"):
            handle.set(cv2.CAP_PROP_CONVERT_RGB, 0)

    def _info(self, handle: Handle) -> DeviceInfo:
        details = {**handle.details, "buffers": str(self._buffers)}
        asked = webcam.unfulfilled(self._settings, details)
        details |= {f"{key}_asked": value for key, value in asked.items()}
        node = video_nodes.find(self._settings["source"]) if self._node else None
        return DeviceInfo(
            model=node.name if node else "video device",
            formats=["JPEG", "PNG"],
            sizes=[handle.size] if all(handle.size) else [],
            serial=node.serial if node else "",
            capture_during_live_view=True,  # a still is one of the frames
            expected_capture_s=0.05 + (self._buffers + 2) / handle.fps,
            details=details,
        )

    def _grab(self) -> int:
        acquired_ns = self._open_one.grab()
        if acquired_ns is None:
            self.health_check()
            raise DriverError(
                "reading from the camera failed: it was unplugged, or no frame came within "
                f"{self._settings['read_timeout_s']:g} s, its read_timeout_s"
            )
        return acquired_ns
