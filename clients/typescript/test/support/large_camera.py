"""A camera of our own: JPEGs of any size, which no compression makes smaller.

Settings: `driver = "large_camera:LargeCamera"`, this folder in the `PYTHONPATH` of `env`.
"""

import os
import struct
import time
from collections.abc import Mapping

import numpy as np

from camsvc.drivers.base import Driver, DriverState
from camsvc.images import codec
from camsvc.model.values import DeviceInfo, Frame, Shot

_COMMENT = b"\xff\xfe"
_MOST = 65_533


class LargeCamera(Driver):
    """Options: `still_bytes`, `frame_bytes`, `fps`."""

    name = "large"

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        self._still_bytes = int(str(settings.get("still_bytes", 1000)))
        self._frame_bytes = int(str(settings.get("frame_bytes", 1000)))
        self._interval_s = 1 / float(str(settings.get("fps", 30)))
        self._next = 0.0

    def open(self) -> DeviceInfo:
        self._frame = _padded(self._frame_bytes)
        return DeviceInfo("large", ["JPEG"], capture_during_live_view=True, expected_capture_s=0.5)

    def capture(self, shot: Shot) -> Frame:
        acquired_ns = time.time_ns()
        return Frame(acquired_ns, encoded=_padded(self._still_bytes), mime_type="image/jpeg")

    def read(self) -> Frame:
        self._next = max(self._next + self._interval_s, time.monotonic())
        time.sleep(max(0.0, self._next - time.monotonic()))
        return Frame(time.time_ns(), encoded=self._frame, mime_type="image/jpeg")

    def close(self) -> None:
        pass


def _padded(size: int) -> bytes:
    """Return a JPEG of about this size: a small one with comments of random bytes."""
    small = bytes(codec.encode(np.zeros((120, 160, 3), np.uint8), codec.JPEG, None))
    parts = [small[:2]]
    missing = size - len(small)
    while missing > 4:
        length = min(missing - 4, _MOST)
        parts.append(_COMMENT + struct.pack(">H", length + 2) + os.urandom(length))
        missing -= length + 4
    return b"".join([*parts, small[2:]])
