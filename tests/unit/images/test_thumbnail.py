"""Thumbnails of any picture: small, upright, with its colours."""

import io
import warnings
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from camsvc.images.thumbnail import SIDE_PX, thumbnail_of

RED, BLUE = (220, 20, 20), (20, 20, 220)


def picture(
    width_px: int = 1200,
    height_px: int = 900,
    format: str = "JPEG",
    *,
    mode: str = "RGB",
    orientation: int | None = None,
) -> bytes:
    """Return a picture whose left half is red and whose right half is blue."""
    image = Image.new("RGB", (width_px, height_px), BLUE)
    image.paste(RED, (0, 0, width_px // 2, height_px))
    about: dict[str, Any] = {}
    if orientation is not None:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        about["exif"] = exif
    out = io.BytesIO()
    image.convert(mode).save(out, format, **about)
    return out.getvalue()


def shown(thumbnail: bytes) -> Image.Image:
    """Return what a thumbnail shows; it must be a JPEG that says nothing of an orientation."""
    image = Image.open(io.BytesIO(thumbnail), formats=["JPEG"])
    image.load()
    assert not image.getexif()
    assert image.mode in ("L", "RGB")
    return image


def colour(image: Image.Image, x: float, y: float) -> str:
    """Say whether the picture is red or blue at a place, given in shares of its sides."""
    at = (int(x * (image.width - 1)), int(y * (image.height - 1)))
    pixel = image.getpixel(at)
    assert isinstance(pixel, tuple)
    return "red" if pixel[0] > pixel[2] else "blue"


def made_of(data: bytes) -> bytes:
    made = thumbnail_of(data)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((1200, 900), (320, 240)),
        ((900, 1200), (240, 320)),
        ((4000, 3000), (320, 240)),
        ((3000, 10), (320, 1)),
        ((320, 320), (320, 320)),
        ((100, 50), (100, 50)),
        ((1, 1), (1, 1)),
    ],
)
def test_a_thumbnail_fits_into_a_square_and_is_never_larger_than_the_picture(
    size: tuple[int, int], small: tuple[int, int]
) -> None:
    made = shown(made_of(picture(*size)))
    assert made.size == small
    assert SIDE_PX == 320
    if min(size) > 50:
        assert (colour(made, 0.1, 0.5), colour(made, 0.9, 0.5)) == ("red", "blue")


@pytest.mark.parametrize(
    ("orientation", "size", "red_at"),
    [
        (1, (320, 240), (0.1, 0.5)),
        (2, (320, 240), (0.9, 0.5)),
        (3, (320, 240), (0.9, 0.5)),
        (6, (240, 320), (0.5, 0.1)),
        (8, (240, 320), (0.5, 0.9)),
    ],
)
def test_a_thumbnail_is_upright_whichever_way_the_camera_was_held(
    orientation: int, size: tuple[int, int], red_at: tuple[float, float]
) -> None:
    made = shown(made_of(picture(orientation=orientation)))
    assert made.size == size
    assert colour(made, *red_at) == "red"
    assert colour(made, 1 - red_at[0], 1 - red_at[1]) == "blue"


@pytest.mark.parametrize(
    ("format", "mode"),
    [
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "LA"),
        ("PNG", "P"),
        ("PNG", "1"),
        ("PNG", "I;16"),
        ("TIFF", "RGB"),
        ("TIFF", "L"),
    ],
)
def test_there_is_one_of_every_format_and_kind_of_pixel(format: str, mode: str) -> None:
    data = picture(format=format, mode="L" if mode == "I;16" else mode)
    if mode == "I;16":
        out = io.BytesIO()
        Image.new("I;16", (1200, 900), 40_000).save(out, format)
        data = out.getvalue()
    assert shown(made_of(data)).size == (320, 240)


@pytest.mark.parametrize(
    "data", [b"", b"no picture", picture()[:500], b"GIF89a" + bytes(100), b"%!PS-Adobe-3.0 EPSF"]
)
def test_of_what_is_no_picture_there_is_none(data: bytes) -> None:
    assert thumbnail_of(data) is None


def test_a_format_that_other_programs_would_read_is_not_tried() -> None:
    """The fewer decoders a stranger's bytes reach, the better."""
    assert thumbnail_of(picture(format="GIF")) is None


def test_a_picture_that_would_take_gigabytes_is_refused_before_it_is_decoded() -> None:
    """A few hundred bytes say that they are of 20,000 by 20,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    side = (20_000).to_bytes(4, "big")
    header = chunk(b"IHDR", side + side + bytes([8, 2, 0, 0, 0]))
    body = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    assert thumbnail_of(b"\x89PNG\r\n\x1a\n" + header + body) is None


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_damaged_pictures_give_a_thumbnail_or_none_and_never_anything_else(format: str) -> None:
    original = picture(64, 48, format, orientation=6)

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        changes=st.lists(
            st.tuples(st.integers(0, min(len(original), 400) - 1), st.integers(0, 255)), max_size=6
        ),
        cut=st.integers(0, len(original)) | st.just(len(original)),
    )
    @example(changes=[(72, 2)], cut=len(original))  # a TIFF whose size is a text
    @example(changes=[(72, 5)], cut=len(original))  # ... a fraction
    def damaged(changes: list[tuple[int, int]], cut: int) -> None:
        data = bytearray(original)
        for at, value in changes:
            data[at] = value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow tells of what it overlooks
            made = thumbnail_of(bytes(data[:cut]))
        assert made is None or shown(made).width <= SIDE_PX

    damaged()
