"""Uncompressed frames of each format become the picture that they were made of."""

import cv2
import numpy as np
import pytest

from camsvc.drivers.v4l2.device import Mode
from camsvc.drivers.v4l2.pixels import BITS, pixels
from camsvc.images.pixels import checked
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


@pytest.mark.parametrize("padding", [0, PADDING])
@pytest.mark.parametrize(("fourcc", "bits"), [*BITS.items(), ("Y16 ", 16)])
def test_grey_of_many_bits_keeps_them(fourcc: str, bits: int, padding: int) -> None:
    values = np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) * ((1 << bits) - 1) // 3071
    rows = np.pad(values.astype("<u2"), ((0, 0), (0, padding)), constant_values=65_535)
    got = pixels(rows.tobytes(), mode(fourcc, 2 * (WIDTH + padding)))
    assert got.dtype == np.uint16
    assert np.array_equal(got, values)
    spread = checked(got, BITS.get(fourcc))
    assert (spread.min(), spread.max()) == (0, 65_535)


MOSAICS = {"BA81": "BG/GR", "GBRG": "GB/RG", "GRBG": "GR/BG", "RGGB": "RG/GB"}


@pytest.mark.parametrize("fourcc", MOSAICS)
def test_a_mosaic_is_its_picture(picture: Pixels, fourcc: str) -> None:
    """Each pixel has one of its colours, as the first two lines have them by the format's name."""
    mosaic = np.empty((HEIGHT, WIDTH), np.uint8)
    for row, line in enumerate(MOSAICS[fourcc].split("/")):
        for column, colour in enumerate(line):
            place = (slice(row, None, 2), slice(column, None, 2))
            mosaic[place] = picture[:, :, "BGR".index(colour)][place]
    got = pixels(mosaic.tobytes(), mode(fourcc))
    assert np.abs(got.astype(int) - picture).mean() < 3


def test_few_bits_a_colour_and_an_empty_fourth_byte(picture: Pixels) -> None:
    blue, green, red = np.moveaxis(picture.astype("<u2"), 2, 0)
    short = (red >> 3) << 11 | (green >> 2) << 5 | blue >> 3
    got = pixels(short.astype("<u2").tobytes(), mode("RGBP"))
    assert np.abs(got.astype(int) - picture).max() < 8
    wide = np.dstack([picture, np.zeros((HEIGHT, WIDTH), np.uint8)])
    assert np.array_equal(pixels(wide.tobytes(), mode("BGR4")), picture)


COLOURS = ("YUYV", "YVYU", "UYVY", "NV12", "NV21", "YU12", "YV12")
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


@pytest.mark.parametrize("fourcc", ["YU12", "YV12"])
def test_lines_of_colours_are_padded_by_half_as_much(picture: Pixels, fourcc: str) -> None:
    data = packed(picture, fourcc)
    luma, colours = data[: WIDTH * HEIGHT], data[WIDTH * HEIGHT :]
    rows = np.frombuffer(colours, np.uint8).reshape(-1, WIDTH // 2)
    half = np.pad(rows, ((0, 0), (0, PADDING // 2)), constant_values=255).tobytes()
    got = pixels(padded(luma, WIDTH) + half, mode(fourcc, WIDTH + PADDING))
    assert np.array_equal(got, pixels(data, mode(fourcc)))


@pytest.mark.parametrize("fourcc", DEPTHS)
def test_an_odd_width_is_a_cut_even_one(picture: Pixels, fourcc: str) -> None:
    data, line = packed(picture, fourcc), WIDTH * DEPTHS[fourcc]
    got = pixels(data, Mode(fourcc, WIDTH - 1, HEIGHT, 30.0, line))
    assert np.array_equal(got, pixels(data, mode(fourcc))[:, :-1])


@pytest.mark.parametrize("fourcc", [*COLOURS, "GREY", "BGR3"])
def test_an_end_that_was_not_written_is_no_green_picture(picture: Pixels, fourcc: str) -> None:
    """Zeros are black where there are no colours, or where they are not by difference."""
    data = packed(picture, fourcc)
    black = pixels(packed(np.zeros_like(picture), fourcc), mode(fourcc))
    assert black.max() <= 1, "legal"
    line = len(data) // HEIGHT
    few, many = (data[: -lines * line] + bytes(lines * line) for lines in (2, 24))
    pixels(few, mode(fourcc))
    if fourcc in COLOURS:
        with pytest.raises(DriverError, match="the frame's end was not written"):
            pixels(many, mode(fourcc))
    else:
        assert not pixels(many, mode(fourcc))[-24:].any()


@pytest.mark.parametrize(
    ("odd", "allowed"),
    [
        (Mode("H264", WIDTH, HEIGHT, 30.0, 0), "allowed for the settings' fourcc: MJPG"),
        (Mode("Z16 ", WIDTH, HEIGHT, 30.0, 0), "allowed for the settings' fourcc: MJPG"),
        (Mode("YUYV", 63, HEIGHT, 30.0, 126), "of 63 x 48 pixels in lines of 126 bytes"),
        (Mode("NV12", WIDTH, 47, 30.0, WIDTH), "of 64 x 47 pixels in lines of 64 bytes"),
    ],
)
def test_what_cannot_be_read_says_what_can(odd: Mode, allowed: str) -> None:
    with pytest.raises(DriverFault, match=f"format '{odd.fourcc}'.*{allowed}"):
        pixels(b"\x80" * 99999, odd)
