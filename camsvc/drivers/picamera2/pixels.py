"""From libcamera's picture formats to blue-first pixels.

libcamera names a format by the bytes of a pixel from the last to the first: its RGB888 is what
OpenCV takes as it is.
"""

from typing import TYPE_CHECKING

from camsvc.model.errors import DriverFault

INSTALL = (
    "On Raspberry Pi OS: sudo apt install python3-picamera2 python3-opencv, and in the camera's "
    'settings python = "/usr/bin/python3", the default'
)

try:
    import cv2
    import numpy as np
except ImportError as error:
    raise ImportError(f"OpenCV is missing ({error}). {INSTALL}") from error

if TYPE_CHECKING:
    import numpy.typing as npt

_CONVERSIONS = {
    "BGR888": cv2.COLOR_RGB2BGR,
    "XRGB8888": cv2.COLOR_BGRA2BGR,
    "XBGR8888": cv2.COLOR_RGBA2BGR,
    "YUV420": cv2.COLOR_YUV2BGR_I420,
    "YVU420": cv2.COLOR_YUV2BGR_YV12,
    "NV12": cv2.COLOR_YUV2BGR_NV12,
    "NV21": cv2.COLOR_YUV2BGR_NV21,
}
PLAIN = "RGB888"
"""The format that needs no conversion."""


def check(pixel_format: str) -> None:
    """Refuse a format that pictures cannot be made of.

    Raises:
        DriverFault: it is such.
    """
    if pixel_format != PLAIN and pixel_format not in _CONVERSIONS:
        raise DriverFault(
            f"the camera gives pictures as {pixel_format}, which this driver cannot read; for a "
            'USB camera, set driver = "opencv"'
        )


def bgr(
    array: "npt.NDArray[np.uint8]", pixel_format: str, size: tuple[int, int]
) -> "npt.NDArray[np.uint8]":
    """Return pixels of their own of an array as Picamera2 shapes it, without its padding.

    `array` may lie in the camera's buffer; `size` is (width, height) in pixels.
    """
    width, height = size
    if pixel_format == PLAIN:
        return np.array(array[:, :width], np.uint8)  # a copy: the buffer goes back to the camera
    pixels = cv2.cvtColor(array, _CONVERSIONS[pixel_format])
    return np.ascontiguousarray(pixels[:height, :width], np.uint8)
