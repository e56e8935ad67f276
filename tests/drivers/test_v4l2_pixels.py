"""Uncompressed frames of each format become the picture that they were made of."""

import cv2
import numpy as np
import pytest

from camsvc.drivers.v4l2.device import Mode
from camsvc.drivers.v4l2.pixels import pixels
from camsvc.model.errors import DriverError, DriverFault
from tests.support.videos import Pixels

WIDTH, HEIGHT, PADDING = 64, 48, 16


def mode(fourcc: str, stride: int = 0) -> Mode:
    return Mode(fourcc, WIDTH, HEIGHT, 30.0, stride)


@pytest.fixture
def picture() -> Pixels:
    """Give a smooth one, of which halving its colours' resolution takes little."""
    x, y = np.meshgrid(np.linspace(40, 200, WIDTH), np.linspace(60, 180, HEIGHT))
    return np.dstack([x, y, (x + y) / 2]).astype(np.uint8)


def packed(picture: Pixels, fourcc: str) -> bytes:
    """Return a frame as a device sends it, without padding."""
    codes = {
        "GREY": cv2.COLOR_BGR2GRAY,
        "RGB3": cv2.COLOR_BGR2RGB,
        "YU12": cv2.COLOR_BGR2YUV_I420,
        "YV12": cv2.COLOR_BGR2YUV_YV12,
    }
    if fourcc == "BGR3":
        return picture.tobytes()
    if fourcc in codes:
        return np.asarray(cv2.cvtColor(picture, codes[fourcc])).tobytes()
    planar = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)).ravel()
    luma = planar[: WIDTH * HEIGHT].reshape(HEIGHT, WIDTH)
    blue, red = planar[WIDTH * HEIGHT :].reshape(2, HEIGHT // 2, WIDTH // 2)
    if fourcc in ("NV12", "NV21"):
        pair = (blue, red) if fourcc == "NV12" else (red, blue)
        return luma.tobytes() + np.dstack(pair).tobytes()
    tall_blue, tall_red = np.repeat(blue, 2, axis=0), np.repeat(red, 2, axis=0)
    even, odd = luma[:, ::2], luma[:, 1::2]
    order = {
        "YUYV": (even, tall_blue, odd, tall_red),
        "YVYU": (even, tall_red, odd, tall_blue),
        "UYVY": (tall_blue, even, tall_red, odd),
    }[fourcc]
    return np.dstack(order).tobytes()


def padded(data: bytes, line: int) -> bytes:
    rows = np.frombuffer(data, np.uint8).reshape(-1, line)
    return np.pad(rows, ((0, 0), (0, PADDING)), constant_values=255).tobytes()


DEPTHS = {"BGR3": 3, "RGB3": 3, "YUYV": 2, "YVYU": 2, "UYVY": 2, "GREY": 1, "NV12": 1, "NV21": 1}


@pytest.mark.parametrize("fourcc", [*DEPTHS, "YU12", "YV12"])
def test_a_frame_is_its_picture(picture: Pixels, fourcc: str) -> None:
    got = pixels(packed(picture, fourcc), mode(fourcc))
    assert got.shape == (HEIGHT, WIDTH, 3)
    wanted = picture if fourcc != "GREY" else np.asarray(
        cv2.cvtColor(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)), cv2.COLOR_GRAY2BGR)
    )  # fmt: skip
    assert np.abs(got.astype(int) - wanted.astype(int)).mean() < 3


@pytest.mark.parametrize("fourcc", DEPTHS)
def test_lines_may_be_padded(picture: Pixels, fourcc: str) -> None:
    data, line = packed(picture, fourcc), WIDTH * DEPTHS[fourcc]
    got = pixels(padded(data, line), mode(fourcc, line + PADDING))
    assert np.array_equal(got, pixels(data, mode(fourcc)))


def test_a_frame_that_is_cut_off_is_refused(picture: Pixels) -> None:
    with pytest.raises(DriverError, match="corrupt picture: 6143 bytes of 6144"):
        pixels(packed(picture, "YUYV")[:-1], mode("YUYV"))


@pytest.mark.parametrize(("fourcc", "stride"), [("H264", 0), ("YU12", WIDTH + PADDING)])
def test_what_cannot_be_read_says_what_can(fourcc: str, stride: int) -> None:
    with pytest.raises(DriverFault, match=f"format '{fourcc}'"):
        pixels(bytes(99999), mode(fourcc, stride))
