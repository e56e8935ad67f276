"""A video file, or a URL that has an end: its pictures one by one, none skipped."""

import os
import time
from collections.abc import Mapping
from typing import Any

import cv2

from camsvc.drivers.base import Driver, DriverState
from camsvc.drivers.opencv import source
from camsvc.drivers.opencv.handle import Handle
from camsvc.drivers.opencv.repeats import Repeats
from camsvc.model.errors import DriverError, DriverFault
from camsvc.model.values import DeviceInfo, Frame, Shot


class FileSource(Driver):
    """A recording. A still is its next picture; live view shows it at its own rate."""

    name = "opencv"

    def __init__(
        self, settings: Mapping[str, Any], state: DriverState, handle: Handle | None = None
    ) -> None:
        """Keep the settings; `handle` is a URL that is open already."""
        self._settings = settings
        self._handle = handle
        self._repeats = Repeats(settings["repeat_limit"])
        self._next_read = 0.0

    def open(self) -> DeviceInfo:
        """Open it, drop what the settings say, and report what it is.

        Raises:
            DriverFault: the backend is not built in, or it is not a video.
        """
        if self._handle is None:
            self._open_file()
        handle = self._open_one
        self._fps = handle.fps
        for _ in range(self._settings["warmup_frames"]):
            self._grab()
        return DeviceInfo(
            model=f"video {self._settings['kind']}",
            formats=["JPEG", "PNG"],
            sizes=[handle.size] if all(handle.size) else [],
            capture_during_live_view=True,  # a still is one of the frames
            expected_capture_s=0.05,
            details=handle.details,
        )

    def capture(self, shot: Shot) -> Frame:
        """Return the next picture.

        Raises:
            DriverError: it is empty, or the last one over and over.
            DriverFault: the file ended, and is not to loop.
        """
        return self._repeats.next_new(lambda: (self._grab(), self._open_one.retrieve()))

    def read(self) -> Frame | None:
        """Return the next picture at the file's own rate."""
        if self._settings["kind"] == "file":
            now = time.monotonic()
            due = max(self._next_read + 1 / self._fps, now)
            if self.interrupt.wait(due - now):
                return None
            self._next_read = due
        return self.capture(Shot())

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.release()

    @property
    def _open_one(self) -> Handle:
        if self._handle is None:
            raise DriverError("the camera is not open")
        return self._handle

    def _open_file(self) -> None:
        source.check(self._settings)
        # A "%d" in a name is no series of pictures. The camera's `env` table has precedence.
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "pattern_type;none")
        # FFmpeg takes "a:b.mp4" for an address of the protocol "a"; an absolute path never is one.
        self._handle = Handle(self._settings, os.path.abspath(self._settings["source"]))

    def _grab(self) -> int:
        while (acquired_ns := self._open_one.grab()) is None:
            self._begin_again()
        return acquired_ns

    def _begin_again(self) -> None:
        """Open the file again at its end, where the settings say so.

        It is not sought: some formats cannot seek, and others do it inexactly.
        """
        if self._settings["kind"] == "url":
            raise DriverError("reading from the camera failed: its stream ended")
        count = self._open_one.pictures_read
        if count == 0:
            raise DriverFault("the video file of the settings' `source` holds no readable picture")
        if not self._settings["loop"]:
            promised = round(self._open_one.get(cv2.CAP_PROP_FRAME_COUNT))
            missing = f" of the {promised} that it announces" if promised > count else ""
            raise DriverFault(
                f"the video file has ended, after {count} pictures{missing}; set loop = true in "
                "the camera's settings, or reset the camera to start it again"
            )
        self.close()
        self._open_file()
