"""Uncompressed frames of V4L2 devices as pixels, blue first."""

from typing import TYPE_CHECKING

import cv2
import numpy as np

from camsvc.drivers.v4l2.device import Mode
from camsvc.model.errors import DriverError, DriverFault

if TYPE_CHECKING:
    import numpy.typing as npt

COMPRESSED = ("MJPG", "JPEG")

# By format: bytes of a pixel in a line, lines by line of pixels, and OpenCV's conversion.
_CONVERSIONS: dict[str, tuple[int, float, int | None]] = {
    "YUYV": (2, 1, cv2.COLOR_YUV2BGR_YUYV),
    "YVYU": (2, 1, cv2.COLOR_YUV2BGR_YVYU),
    "UYVY": (2, 1, cv2.COLOR_YUV2BGR_UYVY),
    "NV12": (1, 1.5, cv2.COLOR_YUV2BGR_NV12),
    "NV21": (1, 1.5, cv2.COLOR_YUV2BGR_NV21),
    "YU12": (1, 1.5, cv2.COLOR_YUV2BGR_I420),
    "YV12": (1, 1.5, cv2.COLOR_YUV2BGR_YV12),
    "GREY": (1, 1, cv2.COLOR_GRAY2BGR),
    "RGB3": (3, 1, cv2.COLOR_RGB2BGR),
    "BGR3": (3, 1, None),
}


def pixels(data: bytes, mode: Mode) -> "npt.NDArray[np.uint8]":
    """Return a frame as (height, width, 3).

    Raises:
        DriverFault: its format is not known here.
        DriverError: it is not whole.
    """
    if mode.fourcc not in _CONVERSIONS:
        allowed = ", ".join([*COMPRESSED, *_CONVERSIONS])
        raise DriverFault(
            f"format {mode.fourcc!r} cannot be read; allowed for the settings' fourcc: {allowed}"
        )
    depth, planes, conversion = _CONVERSIONS[mode.fourcc]
    line, lines = max(mode.stride, mode.width_px * depth), int(mode.height_px * planes)
    if len(data) < line * lines:
        raise DriverError(f"corrupt picture: {len(data)} bytes of {line * lines}")
    rows = np.frombuffer(data, np.uint8, line * lines).reshape(lines, line)
    if mode.fourcc in ("YU12", "YV12") and line > mode.width_px:
        # The lines of their chroma are half as long and padded by half as much: no plain array.
        raise DriverFault(f"format {mode.fourcc!r} with padded lines cannot be read")
    rows = rows[:, : mode.width_px * depth]
    raw = np.ascontiguousarray(rows).reshape(lines, mode.width_px, depth)
    return raw if conversion is None else np.asarray(cv2.cvtColor(raw, conversion), np.uint8)
