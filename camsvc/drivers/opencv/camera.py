"""A camera that OpenCV reads, or our own reader where it is JPEGs over HTTP.

Each kind of source is a driver of its own: a device, a recording, a live stream, a URL of
snapshots. What a URL is, its server's answer says.
"""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import cv2

from camsvc.drivers.base import Driver, DriverState
from camsvc.drivers.linux import video_nodes
from camsvc.drivers.opencv import rtsp, source
from camsvc.drivers.opencv.decoded_stream import DecodedStream
from camsvc.drivers.opencv.device import DeviceSource
from camsvc.drivers.opencv.file import FileSource
from camsvc.drivers.opencv.handle import Handle
from camsvc.drivers.opencv.http_source import Content, HttpSource
from camsvc.drivers.opencv.memory import Memory
from camsvc.drivers.opencv.multipart_stream import MultipartStream
from camsvc.drivers.opencv.pace import Pace
from camsvc.drivers.opencv.pipe import Pipe
from camsvc.drivers.opencv.snapshot import SnapshotSource
from camsvc.drivers.opencv.stream import StreamSource
from camsvc.model.errors import DriverError
from camsvc.model.values import Control, ControlValue, Device, DeviceInfo, Finding, Frame, Shot


class OpenCVCamera(Driver):
    """A device, file or URL."""

    name = "opencv"

    def __init__(self, settings: Mapping[str, Any], state: DriverState) -> None:
        self._settings = settings
        self._state = state
        self._opened: Driver | None = None

    def open(self) -> DeviceInfo:
        """Open the source, whatever it is.

        Raises:
            DeviceAway: it is not there, or is held.
            DriverError: it gives no frames.
            DriverFault: it needs a person: a login, a path, a backend, a file that is no video.
        """
        match self._settings["kind"]:
            case "device":
                self._opened = DeviceSource(self._settings, self._state)
            case "file":
                self._opened = FileSource(self._settings, self._state)
            case _:
                self._opened = self._url()
        self._opened.interrupt = self.interrupt
        return self._opened.open()

    def prepare(self, shot: Shot) -> None:
        self._open_one.prepare(shot)

    def capture(self, shot: Shot) -> Frame:
        return self._open_one.capture(shot)

    def read(self) -> Frame | None:
        return self._open_one.read()

    def controls(self) -> list[Control]:
        return self._open_one.controls()

    def set_controls(self, values: Mapping[str, ControlValue]) -> None:
        self._open_one.set_controls(values)

    def health_check(self) -> DeviceInfo | None:
        return self._open_one.health_check()

    def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

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
    def _open_one(self) -> Driver:
        if self._opened is None:
            raise DriverError("the camera is not open")
        return self._opened

    def _url(self) -> Driver:
        """Ask the server what it has, where that can be asked, and return what reads it."""
        settings, memory = self._settings, Memory(self._state)
        scheme = settings["source"].partition(":")[0].lower()
        if scheme in ("http", "https") and settings["backend"] == "ffmpeg":
            http = HttpSource(settings, memory)
            answer = http.get()
            match http.content(answer):
                case Content.PICTURE:
                    return SnapshotSource(settings, memory, http, answer)
                case Content.PICTURES:
                    return StreamSource(settings, memory, MultipartStream(settings, http, answer))
                case Content.VIDEO:
                    pipe = Pipe(http, answer, Pace(settings["read_timeout_s"]).limit_s)
                    return StreamSource(settings, memory, _piped(settings, pipe))
            http.close()
        elif scheme in ("rtsp", "rtsps"):
            rtsp.look(settings, memory)
        handle = _decoder(settings, settings["source"])
        if handle.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
            return FileSource(settings, self._state, handle)
        return StreamSource(settings, memory, DecodedStream(handle))


def _piped(settings: Mapping[str, Any], pipe: Pipe) -> DecodedStream:
    try:
        return DecodedStream(_decoder(settings, pipe.name), pipe)
    except Exception:
        pipe.close()
        raise


def _decoder(settings: Mapping[str, Any], name: str) -> Handle:
    """Have OpenCV open a stream."""
    if settings["backend"] != "ffmpeg":
        return Handle(settings, name)
    # A camera is reached directly. The camera's `env` table has precedence.
    os.environ.setdefault("no_proxy", "*")
    open_ms = math.ceil(settings["read_timeout_s"] * 1000)
    read_ms = math.ceil(Pace(settings["read_timeout_s"]).limit_s * 1000)
    # Each further thread of the decoder would hold one more frame back.
    parameters = [cv2.CAP_PROP_N_THREADS, 1, cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, open_ms]
    return Handle(settings, name, [*parameters, cv2.CAP_PROP_READ_TIMEOUT_MSEC, read_ms])
