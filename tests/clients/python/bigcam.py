"""A driver of our own: a JPEG of any size, mostly noise in its comments, as a camera made it.

Settings: `driver = "bigcam:BigCamera"`, this folder in the `PYTHONPATH` of `env`, and
`options = { size_bytes = N }`.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from camsvc.drivers.base import Driver, DriverState
from camsvc.model.values import DeviceInfo, Frame, Shot

DRIVER = "bigcam:BigCamera"
ENV = {"PYTHONPATH": str(Path(__file__).parent)}

_COMMENT = b"\xff\xfe"
_COMMENT_BYTES = 65_533


class BigCamera(Driver):
    """No two of its pictures are alike."""

    name = "big"

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        self._size_bytes = int(str(settings["size_bytes"]))

    def open(self) -> DeviceInfo:
        return DeviceInfo(model="Big", formats=["JPEG"], expected_capture_s=0.2)

    def capture(self, shot: Shot) -> Frame:
        acquired_ns = time.time_ns()
        ok, small = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))
        assert ok
        picture = small.tobytes()
        parts = [picture[:2]]
        missing = self._size_bytes - len(picture)
        while missing > 0:
            count = min(_COMMENT_BYTES, missing)
            parts += [_COMMENT, (count + 2).to_bytes(2, "big"), os.urandom(count)]
            missing -= count + 4
        encoded = b"".join([*parts, picture[2:]])
        return Frame(acquired_ns, encoded=encoded, mime_type="image/jpeg")

    def close(self) -> None:
        pass
