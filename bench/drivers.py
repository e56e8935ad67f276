"""Cameras that cost nothing: they hand over pictures made beforehand."""

import time
from collections.abc import Mapping

import cv2
import numpy as np

from bench.pictures import FPS, Clock, Source
from camsvc.drivers.base import Driver, DriverState
from camsvc.model.values import DeviceInfo, Frame, Shot


class ReadyJpeg(Driver):
    """Setting `size_bytes`: how large the JPEG is, about."""

    name = "ready-jpeg"

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        self._size_bytes = int(str(settings["size_bytes"]))
        self._clock = Clock(FPS)

    def open(self) -> DeviceInfo:
        side = int((self._size_bytes / 0.66) ** 0.5) // 16 * 16
        noise = np.random.default_rng(1).integers(0, 255, (side, side, 3), np.uint8)
        _, data = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 80])
        self._data = data.tobytes()
        return DeviceInfo("ready", ["JPEG"], expected_capture_s=0.001)

    def capture(self, shot: Shot) -> Frame:
        return Frame(time.time_ns(), encoded=self._data, mime_type="image/jpeg")

    def read(self) -> Frame:
        self._clock.wait()
        return Frame(time.time_ns(), encoded=self._data, mime_type="image/jpeg")

    def close(self) -> None:
        pass


class ReadyPixels(Driver):
    """A camera without a codec of its own: pixels of 1920 x 1080, 30 times a second."""

    name = "ready-pixels"

    def open(self) -> DeviceInfo:
        self._source = Source()
        return DeviceInfo("ready", ["JPEG"], expected_capture_s=0.04)

    def capture(self, shot: Shot) -> Frame:
        return self.read()

    def read(self) -> Frame:
        _, pixels = self._source.read()
        return Frame(time.time_ns(), pixels=pixels)

    def close(self) -> None:
        pass
