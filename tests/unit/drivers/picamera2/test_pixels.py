"""libcamera's picture formats, which need no library to be read."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from camsvc.drivers.picamera2 import pixels
from camsvc.model.errors import DriverFault

WIDTH, HEIGHT, PADDING = 64, 48, 32
BGR = (200, 100, 50)

_SIMPLE = {
    "BGR888": cv2.COLOR_BGR2RGB,
    "XRGB8888": cv2.COLOR_BGR2BGRA,
    "XBGR8888": cv2.COLOR_BGR2RGBA,
    "YUV420": cv2.COLOR_BGR2YUV_I420,
    "YVU420": cv2.COLOR_BGR2YUV_YV12,
}


def picture(width: int = WIDTH) -> "npt.NDArray[np.uint8]":
    """Return a picture of one colour, with a white corner at the top left."""
    made = np.full((HEIGHT, width, 3), BGR, np.uint8)
    made[: HEIGHT // 4, : WIDTH // 4] = 255
    return made


def as_given(pixel_format: str, width: int) -> "npt.NDArray[np.uint8]":
    """Return it as Picamera2 shapes an array of this format."""
    bgr = picture(width)
    if pixel_format in _SIMPLE:
        return np.asarray(cv2.cvtColor(bgr, _SIMPLE[pixel_format]), np.uint8)
    if pixel_format == pixels.PLAIN:
        return bgr
    planes = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    half = (HEIGHT // 2, width // 2)
    u, v = (plane.reshape(half) for plane in np.split(planes[HEIGHT:].ravel(), 2))
    pair = (u, v) if pixel_format == "NV12" else (v, u)
    return np.vstack([planes[:HEIGHT], np.dstack(pair).reshape(HEIGHT // 2, width)])


@pytest.mark.parametrize("padding", [0, PADDING])
@pytest.mark.parametrize(
    "pixel_format",
    ["RGB888", "BGR888", "XRGB8888", "XBGR8888", "YUV420", "YVU420", "NV12", "NV21"],
)
def test_every_format_gives_the_same_picture(pixel_format: str, padding: int) -> None:
    """Rows may be longer than the picture is wide; none of that is left."""
    pixels.check(pixel_format)
    given = as_given(pixel_format, WIDTH + padding)
    made = pixels.bgr(given, pixel_format, (WIDTH, HEIGHT))
    assert made.shape == (HEIGHT, WIDTH, 3)
    assert made.dtype == np.uint8
    assert made.flags.c_contiguous
    assert np.abs(made.astype(int) - picture()).max() <= 3


def test_the_picture_is_not_the_cameras_memory() -> None:
    given = picture()
    made = pixels.bgr(given, pixels.PLAIN, (WIDTH, HEIGHT))
    given[:] = 0
    assert np.array_equal(made, picture())


def test_a_format_that_cannot_be_read_is_told_with_what_to_do() -> None:
    with pytest.raises(DriverFault, match='as MJPEG.*driver = "opencv"'):
        pixels.check("MJPEG")
