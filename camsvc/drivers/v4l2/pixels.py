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
    "BGR4": (4, 1, cv2.COLOR_BGRA2BGR),
    "RGBP": (2, 1, cv2.COLOR_BGR5652BGR),
    "BA81": (1, 1, cv2.COLOR_BayerBGGR2BGR),
    "GBRG": (1, 1, cv2.COLOR_BayerGBRG2BGR),
    "GRBG": (1, 1, cv2.COLOR_BayerGRBG2BGR),
    "RGGB": (1, 1, cv2.COLOR_BayerRGGB2BGR),
    "Y10 ": (2, 1, None),
    "Y12 ": (2, 1, None),
    "Y14 ": (2, 1, None),
    "Y16 ": (2, 1, None),
}
BITS = {"Y10 ": 10, "Y12 ": 12, "Y14 ": 14}
"""Of a value, where it has fewer than its type."""
_WITH_COLOURS = {"YUYV", "YVYU", "UYVY", "NV12", "NV21", "YU12", "YV12"}
"""In which no colour, black neither, is all zeros: that is memory that was never written."""
_UNWRITTEN_LINES = 16
"""Less than so many, some devices never write."""


def pixels(data: bytes, mode: Mode) -> "npt.NDArray[np.uint8] | npt.NDArray[np.uint16]":
    """Return a frame as (height, width, 3), or of over 8 bits, which are grey, (height, width).

    Raises:
        DriverFault: its format is not known here.
        DriverError: it is not whole.
    """
    if mode.fourcc not in _CONVERSIONS:
        allowed = ", ".join(map(str.rstrip, [*COMPRESSED, *_CONVERSIONS]))
        raise DriverFault(
            f"format {mode.fourcc!r} cannot be read; allowed for the settings' fourcc: {allowed}"
        )
    depth, planes, conversion = _CONVERSIONS[mode.fourcc]
    line, lines = max(mode.stride, mode.width_px * depth), int(mode.height_px * planes)
    if len(data) < line * lines:
        raise DriverError(f"corrupt picture: {len(data)} bytes of {line * lines}")
    rows = np.frombuffer(data, np.uint8, line * lines).reshape(lines, line)
    if mode.fourcc in _WITH_COLOURS and not rows[-_UNWRITTEN_LINES:].any():
        raise DriverError("corrupt picture: the frame's end was not written; it would be green")
    # Padding is converted, too, and then cut off: where colours have planes of their own, it is
    # not at the end of each line.
    width = line // depth
    raw = np.ascontiguousarray(rows[:, : width * depth]).reshape(lines, width, depth)
    if mode.fourcc.startswith("Y1"):
        return raw.view("<u2")[:, : mode.width_px, 0]
    if conversion is None:
        return raw[:, : mode.width_px]
    try:
        converted = cv2.cvtColor(raw, conversion)
    except cv2.error:  # of an odd width or height
        raise DriverFault(
            f"format {mode.fourcc!r} of {mode.width_px} x {mode.height_px} pixels in lines of "
            f"{line} bytes cannot be read; set another width_px and height_px, or fourcc"
        ) from None
    return np.asarray(converted[:, : mode.width_px], np.uint8)
