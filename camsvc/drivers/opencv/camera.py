"""A camera that OpenCV reads: a device, a video file, or a URL.

All of it happens on the worker's main thread: a VideoCapture that two threads use, or that
another one releases, is how such servers crash.

What OpenCV reports is not believed but read back: it accepts formats, sizes and rates that the
device then does not give. Nor does it report a loss: the handle of an unplugged device stays
"open", and each read of it fails at once, or (other platforms) returns its last frame for ever.
"""

import contextlib
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from camsvc.drivers.base import Driver, DriverState
from camsvc.drivers.linux import video_nodes, webcam
from camsvc.drivers.opencv import source
from camsvc.model.errors import DeviceAway, DriverError, DriverFault
from camsvc.model.values import Control, ControlValue, Device, DeviceInfo, Finding, Frame, Shot
from camsvc.system import posix

if TYPE_CHECKING:
    import numpy.typing as npt

_RETRY_PAUSE_S = 0.1
"""Before the first retry of a failed read where retries are allowed; it grows by as much."""

_BUFFERS, _MOST_BUFFERS = 4, 10
"""How many frames V4L2 keeps when the device does not say, and at most."""

_CATCH_UP_S = 3.0
"""How long dropping a stream's backlog may take; if longer, reading does not keep up with it."""

_USUAL_FPS, _MOST_FPS = 25.0, 1000.0
"""Where the rate is unknown; and what is not a rate but a clock's (90,000)."""

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


def open_capture(number_or_path: Any, backend: int, parameters: Sequence[int]) -> cv2.VideoCapture:
    """Open a source. `parameters` are CAP_PROP numbers, each followed by its value."""
    return cv2.VideoCapture(number_or_path, backend, parameters)


class OpenCVCamera(Driver):
    """A device, file or URL.

    A still of a device or of a live stream is begun after it was asked for: what was buffered is
    dropped first. A file, or a URL that has an end, gives its frames one by one, none skipped.
    """

    name = "opencv"

    def __init__(self, settings: Mapping[str, Any], state: DriverState) -> None:
        self._settings = settings
        self._kind: str = settings["kind"]
        self._handle: cv2.VideoCapture | None = None
        self._next_read = 0.0
        self._properties: dict[str, int] = {}
        """The controls, with OpenCV's numbers for them."""
        self._last: npt.NDArray[np.uint8] | None = None
        self._pictures_read = 0
        self._node = ""

    def open(self) -> DeviceInfo:
        """Open the source, ask for what the settings want, and report what it gives instead.

        Raises:
            DeviceAway: the device is not there, or is held.
            DriverError: the stream is not there, or gives no frames.
            DriverFault: the backend is not built in, or the file is not a video.
        """
        settings = self._settings
        # OpenCV takes this in whole seconds, from the environment, once: at its first grab. The
        # camera's `env` table has precedence.
        timeout = str(math.ceil(settings["read_timeout_s"]))
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", timeout)
        self._open_handle()
        if self._kind == "device":
            # What the handle stands for: a name such as by-id may lead elsewhere later.
            if sys.platform == "linux":
                self._node = os.path.realpath(video_nodes.device_path(settings["source"]))
            self._configure()
        fps = self._get(cv2.CAP_PROP_FPS)
        self._fps = fps if 0 < fps <= _MOST_FPS else _USUAL_FPS
        buffers = self._get(cv2.CAP_PROP_BUFFERSIZE)
        self._buffers = int(buffers) if 1 <= buffers <= _MOST_BUFFERS else _BUFFERS
        self._live = self._kind == "url" and self._get(cv2.CAP_PROP_FRAME_COUNT) <= 0
        if self._kind == "device" and settings["backend"] == "v4l2":
            ids = {name: getattr(cv2, f"CAP_PROP_{prop}") for name, prop in PROPERTIES.items()}
            self._properties = {name: i for name, i in ids.items() if self._get(i) != -1}
        for _ in range(settings["warmup_frames"]):
            self._grab()
        if settings["warmup_frames"] and settings["repeat_limit"]:
            self._last = self._retrieve()
        return self._info()

    def prepare(self, shot: Shot) -> None:
        """Drop a live stream's backlog, so that little of it is left to drop at the trigger.

        A device's buffers fill again at once, so they are emptied by `capture` alone.

        Raises:
            DriverError: no frame comes, or the stream is behind.
        """
        if self._live:
            self._catch_up()

    def capture(self, shot: Shot) -> Frame:
        """Return a frame begun after this call, or the next one of a file.

        Raises:
            DriverError: no frame comes, it is empty, or it is the last one over and over.
            DriverFault: the file ended, and is not to loop.
        """
        if self._kind == "device":
            # One more than is buffered: the frame under way may have been exposed already.
            for _ in range(self._buffers + 1):
                self._grab()
        elif self._live:
            self._catch_up()
        frame = self._next()
        # Not of live frames: each value costs a request to the device.
        values = {control.name: control.value for control in self.controls()}
        return replace(frame, exposure_us=webcam.exposure_us(values.get))

    def read(self) -> Frame | None:
        """Return the next frame, at the source's own rate also where it is a file."""
        if self._kind == "file":
            now = time.monotonic()
            due = max(self._next_read + 1 / self._fps, now)
            if self.interrupt.wait(due - now):
                return None
            self._next_read = due
        return self._next()

    def _next(self) -> Frame:
        limit: int = self._settings["repeat_limit"]
        for _ in range(max(1, limit - 1)):
            acquired_ns = self._grab()
            data = self._retrieve()
            if not limit or self._last is None or not np.array_equal(self._last, data):
                self._last = data
                return self._frame(acquired_ns, data)
        raise DriverError(
            f"the camera repeats its last frame: {limit} in a row are the same, byte for byte. It "
            "may have been unplugged; if its picture is truly that still (a covered lens), set "
            "repeat_limit = 0 in its settings"
        )

    def controls(self) -> list[Control]:
        """Return what the device reports; OpenCV does not know the ranges."""
        return [webcam.known(n).control(self._get(i)) for n, i in self._properties.items()]

    def set_controls(self, values: Mapping[str, ControlValue]) -> None:
        """Set, and read back what the device made of it.

        Raises:
            InvalidRequest: the device refused a value, or took another.
        """
        for name, wanted in webcam.in_turn(values):
            known, number = webcam.known(name), self._properties[name]
            raws = known.raws(wanted)
            taken = any(self._open_one.set(number, raw) for raw in raws)
            value = known.control(self._get(number)).value
            if not taken or value != known.control(raws[0]).value:
                raise known.refusal(wanted, value)

    def health_check(self) -> None:
        """Notice that a device was unplugged, which OpenCV's handle does not say."""
        if self._node and not os.path.exists(self._node):
            raise DeviceAway("the camera was unplugged")

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.release()

    @classmethod
    def discover(cls, configured: Sequence[Mapping[str, Any]] = ()) -> list[Device]:
        """List the V4L2 devices that can capture; other systems list none."""
        return [
            Device(node.address, node.name, node.name, node.serial, {"source": node.address})
            for node in video_nodes.nodes()
        ]

    @classmethod
    def selects(cls, settings: Mapping[str, Any], device: Device) -> bool:
        """Whether a source and a device's address lead to one node: 0, /dev/video0, by-id."""
        if settings["kind"] != "device":
            return False
        node = video_nodes.device_path(settings["source"])
        return os.path.realpath(node) == os.path.realpath(device.address)

    @classmethod
    def diagnose(cls, settings: Mapping[str, Any]) -> list[Finding]:
        """Say whether the source is there, may be used, and is held by another program."""
        return source.findings(settings)

    @property
    def _open_one(self) -> cv2.VideoCapture:
        if self._handle is None:
            raise DriverError("the camera is not open")
        return self._handle

    def _get(self, prop: int) -> float:
        return float(self._open_one.get(prop))

    def _open_handle(self) -> None:
        settings = self._settings
        source.check(settings)
        backend = _backend_id(settings["backend"])
        parameters: list[int] = []
        if self._kind == "url" and settings["backend"] == "ffmpeg":
            wait_ms = math.ceil(settings["read_timeout_s"] * 1000)
            # Each further thread of the decoder would hold one more frame back.
            parameters = [cv2.CAP_PROP_N_THREADS, 1, cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, wait_ms]
            parameters += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait_ms]
        with _opencv_errors():
            self._handle = open_capture(settings["source"], backend, parameters)
        if not self._handle.isOpened():
            raise source.closed(settings)
        self._pictures_read = 0

    def _configure(self) -> None:
        """Ask for what the settings want. The order is V4L2's: a new format resets the rest."""
        settings, handle = self._settings, self._open_one
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
        if settings["backend"] == "v4l2" and self._fourcc() in ("MJPG", "JPEG"):
            handle.set(cv2.CAP_PROP_CONVERT_RGB, 0)

    def _info(self) -> DeviceInfo:
        settings, is_device = self._settings, self._kind == "device"
        width = round(self._get(cv2.CAP_PROP_FRAME_WIDTH))
        height = round(self._get(cv2.CAP_PROP_FRAME_HEIGHT))
        details = {
            "backend": self._open_one.getBackendName(),
            "size": f"{width}x{height}",
            "fps": f"{self._fps:g}",
            "fourcc": self._fourcc(),
        }
        if is_device:
            details["buffers"] = str(self._buffers)
            asked = webcam.unfulfilled(settings, details)
            details |= {f"{key}_asked": value for key, value in asked.items()}
        node = video_nodes.find(settings["source"]) if self._node else None
        # A device's buffer is dropped first; a live stream's next frame, and one more, awaited.
        frames = self._buffers + 2 if is_device else 2 if self._live else 0
        return DeviceInfo(
            model=node.name if node else f"video {self._kind}",
            formats=["JPEG", "PNG"],
            sizes=[(width, height)] if width and height else [],
            serial=node.serial if node else "",
            capture_during_live_view=True,  # a still is one of the frames
            expected_capture_s=0.05 + frames / self._fps,
            details=details,
        )

    def _catch_up(self) -> None:
        """Drop what a stream sent since the last capture: only a frame waited for is new."""
        give_up = time.monotonic() + _CATCH_UP_S
        while (started := time.monotonic()) < give_up:
            held_up_s = -posix.processor_wait_s()
            self._grab()
            took_s = time.monotonic() - started
            # On a busy machine, reading an old frame may last as long as waiting for a new one.
            held_up_s += posix.processor_wait_s()
            if took_s - held_up_s >= 0.5 / self._fps:
                return
        raise DriverError(
            f"the stream is behind after {_CATCH_UP_S:g} s of reading on, so that its pictures "
            "would be old: lower its size or rate, or give it a faster machine"
        )

    def _grab(self) -> int:
        """Have the next frame taken; return when it was, in ns since the Unix epoch."""
        for failed in range(self._settings["read_failures"] + 1):
            time.sleep(failed * _RETRY_PAUSE_S)
            with _opencv_errors():
                ok = self._open_one.grab()
            if ok:
                acquired_ns = time.time_ns()
                self._pictures_read += 1
                return acquired_ns
            if self._kind == "file":
                return self._grab_first_again()
        self.health_check()
        raise DriverError(
            "reading from the camera failed: it was unplugged, its stream ended, or no frame came "
            f"within {self._settings['read_timeout_s']:g} s"
        )

    def _grab_first_again(self) -> int:
        count = self._pictures_read
        if count == 0:
            raise DriverFault("the video file of the settings' `source` holds no readable picture")
        if not self._settings["loop"]:
            promised = round(self._get(cv2.CAP_PROP_FRAME_COUNT))
            missing = f" of the {promised} that it announces" if promised > count else ""
            raise DriverFault(
                f"the video file has ended, after {count} pictures{missing}; set loop = true in "
                "the camera's settings, or reset the camera to start it again"
            )
        # Opened again, not sought: some formats cannot seek, and others do it inexactly.
        self.close()
        self._open_handle()
        return self._grab()

    def _retrieve(self) -> "npt.NDArray[np.uint8]":
        with _opencv_errors():
            ok, data = self._open_one.retrieve()
        if not ok or data is None or data.size == 0:
            raise DriverError("the camera delivered an empty frame")
        if data.dtype != np.uint8:
            raise DriverError(f"frames of {data.dtype} are not pictures; set another `fourcc`")
        return np.asarray(data, np.uint8)

    def _frame(self, acquired_ns: int, data: "npt.NDArray[np.uint8]") -> Frame:
        match data.shape:
            case (1, *_):  # a JPEG as it came from the device
                return Frame(acquired_ns, None, data.tobytes(), "image/jpeg")
            case (_, _, 3):
                return Frame(acquired_ns, data)
            case (_, _) | (_, _, 1):
                grey = cv2.cvtColor(data, cv2.COLOR_GRAY2BGR)
                return Frame(acquired_ns, np.asarray(grey, np.uint8))
            case shape:
                raise DriverError(f"frames of shape {shape} are not pictures; set another `fourcc`")

    def _fourcc(self) -> str:
        code = int(self._get(cv2.CAP_PROP_FOURCC))
        return code.to_bytes(4, "little").decode("ascii", "replace") if code > 0 else ""


def _backend_id(name: str) -> int:
    """Return OpenCV's number for a backend.

    Raises:
        DriverFault: this OpenCV does not have it.
    """
    number = int(getattr(cv2, f"CAP_{name.upper()}"))
    if name != "any" and not cv2.videoio_registry.hasBackend(number):
        built_in = map(cv2.videoio_registry.getBackendName, cv2.videoio_registry.getBackends())
        raise DriverFault(
            f"backend {name!r} is not built into this OpenCV, which has: any, "
            f"{', '.join(built_in).lower()}"
        )
    return number


@contextlib.contextmanager
def _opencv_errors() -> Iterator[None]:
    """Let no exception of OpenCV out: its text has paths of files in it."""
    try:
        yield
    except cv2.error as error:
        raise DriverError(f"OpenCV failed with code {error.code} while reading") from error
