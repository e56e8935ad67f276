"""Thumbnails of whatever is kept: small, upright, and never at the cost of the service."""

import asyncio
import io
import threading
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from camsvc.model.errors import CaptureNotFound, Unsupported
from camsvc.storage import thumbnails as thumbnails_module
from camsvc.storage.archive import Archive
from camsvc.storage.thumbnails import SIDE_PX, Thumbnails
from tests.support.keeping import capture, keep, written

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


async def thumbnail(archive: Archive, data: bytes, mime_type: str = "image/jpeg") -> bytes:
    await keep(archive, capture("a"), data, mime_type)
    return await Thumbnails(archive).get("a")


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
async def test_a_thumbnail_fits_into_a_square_and_is_never_larger_than_the_picture(
    archive: Archive, size: tuple[int, int], small: tuple[int, int]
) -> None:
    made = shown(await thumbnail(archive, picture(*size)))
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
async def test_a_thumbnail_is_upright_whichever_way_the_camera_was_held(
    archive: Archive, orientation: int, size: tuple[int, int], red_at: tuple[float, float]
) -> None:
    made = shown(await thumbnail(archive, picture(orientation=orientation)))
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
async def test_there_is_one_of_every_format_and_kind_of_pixel(
    archive: Archive, format: str, mode: str
) -> None:
    data = picture(format=format, mode="L" if mode == "I;16" else mode)
    if mode == "I;16":
        out = io.BytesIO()
        Image.new("I;16", (1200, 900), 40_000).save(out, format)
        data = out.getvalue()
    assert shown(await thumbnail(archive, data, f"image/{format.lower()}")).size == (320, 240)


async def unsupported(archive: Archive, data: bytes, mime_type: str = "image/jpeg") -> Unsupported:
    with pytest.raises(Unsupported) as refusal:
        await thumbnail(archive, data, mime_type)
    return refusal.value


@pytest.mark.parametrize(
    "data", [b"", b"no picture", picture()[:500], b"GIF89a" + bytes(100), b"%!PS-Adobe-3.0 EPSF"]
)
async def test_of_what_is_no_picture_there_is_none(archive: Archive, data: bytes) -> None:
    error = await unsupported(archive, data, "image/x-raw")
    assert "'a': no thumbnail can be made of its image/x-raw" in error.message
    assert error.metadata == {"camera": "cam", "capture_id": "a"}


async def test_a_format_that_other_programs_would_read_is_not_tried(archive: Archive) -> None:
    """The fewer decoders a stranger's bytes reach, the better."""
    await unsupported(archive, picture(format="GIF"))


async def test_a_picture_that_would_take_gigabytes_is_refused_before_it_is_decoded(
    archive: Archive,
) -> None:
    """A few hundred bytes say that they are of 20,000 by 20,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    side = (20_000).to_bytes(4, "big")
    header = chunk(b"IHDR", side + side + bytes([8, 2, 0, 0, 0]))
    body = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    await unsupported(archive, b"\x89PNG\r\n\x1a\n" + header + body, "image/png")


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
            made = thumbnails_module.thumbnail_of(bytes(data[:cut]))
        assert made is None or shown(made).width <= SIDE_PX

    damaged()


async def test_a_capture_without_a_picture_has_no_thumbnail(archive: Archive) -> None:
    thumbnails = Thumbnails(archive)
    archive.captures.begin(capture("a"), None)
    await written(archive)
    for capture_id in ("a", "unknown"):
        with pytest.raises(CaptureNotFound):
            await thumbnails.get(capture_id)


async def test_what_is_deleted_has_no_thumbnail_any_more(archive: Archive) -> None:
    await keep(archive, capture("a"), picture())
    thumbnails = Thumbnails(archive)
    await thumbnails.get("a")
    await archive.delete("a")
    with pytest.raises(CaptureNotFound):
        await thumbnails.get("a")


# Made once, one at a time, and kept in memory within bounds.


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Give what thumbnails were made of; no two are made at a time."""
    of: list[bytes] = []
    making, real = threading.Lock(), thumbnails_module.thumbnail_of

    def make(data: bytes) -> bytes | None:
        assert making.acquire(blocking=False), "two at a time"
        try:
            of.append(data)
            return real(data)
        finally:
            making.release()

    monkeypatch.setattr(thumbnails_module, "thumbnail_of", make)
    return of


async def test_the_same_one_is_made_once(archive: Archive, made: list[bytes]) -> None:
    await keep(archive, capture("a"), picture())
    thumbnails = Thumbnails(archive)
    found = await asyncio.gather(*(thumbnails.get("a") for _ in range(10)))
    found.append(await thumbnails.get("a"))
    assert len(made) == 1
    assert len(set(found)) == 1


async def test_many_are_made_one_at_a_time(archive: Archive, made: list[bytes]) -> None:
    ids = [f"{number:02}" for number in range(12)]
    for capture_id in ids:
        await keep(archive, capture(capture_id), picture())
    await asyncio.gather(*map(Thumbnails(archive).get, ids))
    assert len(made) == len(ids)


async def test_the_event_loop_does_not_wait_for_it(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()
    make: Callable[[bytes], bytes | None] = thumbnails_module.thumbnail_of

    def held(data: bytes) -> bytes | None:
        began.set()
        assert go_on.wait(10)
        return make(data)

    monkeypatch.setattr(thumbnails_module, "thumbnail_of", held)
    await keep(archive, capture("a"), picture())
    getting = asyncio.create_task(Thumbnails(archive).get("a"))
    assert await asyncio.to_thread(began.wait, 10)
    assert await archive.capture("a"), "others are served meanwhile"
    assert not getting.done()
    go_on.set()
    shown(await getting)


async def test_only_the_last_used_are_kept_in_memory(
    archive: Archive, made: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails_module, "_KEPT", 3)
    thumbnails = Thumbnails(archive)
    for number in range(5):
        await keep(archive, capture(str(number)), picture(10 + number, 10))
    for capture_id in "0120":
        await thumbnails.get(capture_id)
    assert len(made) == 3
    await thumbnails.get("3")  # "1" was used longest ago
    made.clear()
    for capture_id in "023":
        await thumbnails.get(capture_id)
    assert not made
    await thumbnails.get("1")
    assert len(made) == 1


async def test_that_none_can_be_made_is_not_kept_in_memory(archive: Archive) -> None:
    await keep(archive, capture("a"), b"no picture")
    thumbnails = Thumbnails(archive)
    for _ in range(2):
        with pytest.raises(Unsupported):
            await thumbnails.get("a")
    await archive.delete("a")
    with pytest.raises(CaptureNotFound):
        await thumbnails.get("a")


async def test_a_client_that_leaves_while_one_is_made_keeps_nobody_from_theirs(
    archive: Archive,
) -> None:
    await keep(archive, capture("a"), picture(4000, 3000))
    thumbnails = Thumbnails(archive)
    for steps in range(10):
        leaving = asyncio.create_task(thumbnails.get("a"))
        for _ in range(steps):
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
    assert shown(await thumbnails.get("a")).size == (320, 240)
    assert await archive.prune(excess_bytes=1) == 1, "nobody reads it"
