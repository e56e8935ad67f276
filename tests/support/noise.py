"""A driver of our own: pictures of noise, which no format makes smaller.

Its `options` are the size in pixels; as PNG, a picture has about 3 bytes for each.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from camsvc.drivers.base import Driver, DriverState
from camsvc.model.values import DeviceInfo, Frame, Shot

ENV = {"PYTHONPATH": str(Path(__file__).parent)}
SETTINGS: dict[str, Any] = {
    "driver": "noise:NoiseCamera",
    "env": ENV,
    "options": {"width_px": 1600, "height_px": 1000},
}
"""Of a camera whose pictures have 4.8 MB as PNG."""


class NoiseCamera(Driver):
    """No two of its pictures are alike."""

    name = "noise"

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        self._size = (int(str(settings["height_px"])), int(str(settings["width_px"])))
        self._random = np.random.default_rng()

    def open(self) -> DeviceInfo:
        return DeviceInfo(model="Noise", formats=["JPEG", "PNG"], expected_capture_s=0.05)

    def capture(self, shot: Shot) -> Frame:
        acquired_ns = time.time_ns()
        pixels = self._random.integers(0, 256, (*self._size, 3), dtype=np.uint8)
        return Frame(acquired_ns, pixels=pixels)

    def close(self) -> None:
        pass
