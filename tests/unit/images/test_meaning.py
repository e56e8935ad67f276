"""What changes the meaning of pixels follows them: how the camera was held, what colours are."""

import io
import struct
from collections.abc import Callable

import pytest
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base

from camsvc.images import codec, exif, jpeg
from camsvc.images.thumbnail import thumbnail_of
from camsvc.model.values import DeviceInfo, Frame, LiveVariant, Shot
from tests.support import jpegs
from tests.support.jpegs import HEIGHT, SRGB, WIDTH
from tests.support.likeness import likeness, upright

GREY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]
LONG_PROFILE = (200_000).to_bytes(4, "big") + SRGB[4:] + bytes(200_000 - len(SRGB))
SWAPPED = (5, 6, 7, 8)

Make = Callable[[Frame], tuple[bytes, tuple[int, int]]]


def still(shot: Shot) -> Make:
    def make(frame: Frame) -> tuple[bytes, tuple[int, int]]:
        data, output = codec.finish(codec.Picture(frame), shot)
        size = output.width_px, output.height_px
        return b"".join(exif.tagged(data, frame, DeviceInfo("a", []), "", size_px=size)), size

    return make


def live(variant: LiveVariant) -> Make:
    def make(frame: Frame) -> tuple[bytes, tuple[int, int]]:
        picture = codec.Picture(frame)
        (output,) = picture.live_outputs([variant])
        return bytes(picture.render(output)), (output.width_px, output.height_px)

    return make


def thumbnail(frame: Frame) -> tuple[bytes, tuple[int, int]]:
    assert frame.encoded is not None
    made = thumbnail_of(frame.encoded)
    assert made is not None
    return made, Image.open(io.BytesIO(made)).size


PASSES: dict[str, Make] = {"still": still(Shot()), "live": live(LiveVariant(1))}
ENCODED: dict[str, Make] = {
    "still of another quality": still(Shot(quality_percent=95)),
    "scaled still": still(Shot(max_width_px=60, quality_percent=95)),
    "PNG": still(Shot("PNG")),
    "scaled PNG": still(Shot("PNG", max_height_px=50)),
    "live, another quality": live(LiveVariant(1, quality_percent=95)),
    "scaled live": live(LiveVariant(1, max_width_px=70, quality_percent=95)),
    "thumbnail": thumbnail,
}
ALL = {**PASSES, **ENCODED}


def frame(orientation: int = 1, mode: str = "RGB", **options: object) -> Frame:
    data = jpegs.jpeg(jpegs.photo(mode), exif=jpegs.exif(orientation), **options)
    return Frame(1, encoded=data, mime_type=codec.JPEG)


def opened(data: bytes | None) -> Image.Image:
    assert data is not None
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("way", ALL)
def test_it_stands_the_same_way_whatever_is_made_of_it(way: str, orientation: int) -> None:
    held = frame(orientation)
    data, size = ALL[way](held)
    assert opened(data).size == size, "as it is stored"
    assert likeness(opened(data), opened(held.encoded)) > 0.9
    if way in PASSES:
        assert data == held.encoded
    else:
        assert opened(data).getexif().get(Base.Orientation, 1) == 1
        landscape = (size[0] > size[1]) == (WIDTH > HEIGHT)
        assert landscape == (orientation not in SWAPPED)


@pytest.mark.parametrize("orientation", [1, 6])
def test_limits_hold_for_what_is_stored_and_for_what_is_seen(orientation: int) -> None:
    for width, height in ((WIDTH - 1, None), (None, HEIGHT - 1), (HEIGHT, None), (WIDTH, HEIGHT)):
        data, size = still(Shot(max_width_px=width, max_height_px=height))(frame(orientation))
        assert opened(data).size == size
        for seen in (size, upright(opened(data)).size):
            assert seen[0] <= (width or WIDTH)
            assert seen[1] <= (height or WIDTH)


@pytest.mark.parametrize("profile", [SRGB, LONG_PROFILE], ids=["short", "in four segments"])
@pytest.mark.parametrize("way", ALL)
def test_a_colour_profile_follows(way: str, profile: bytes) -> None:
    data, _ = ALL[way](frame(icc_profile=profile))
    assert opened(data).info.get("icc_profile") == profile


@pytest.mark.parametrize("way", ENCODED)
def test_grey_stays_grey_and_so_does_its_profile(way: str) -> None:
    held = frame(mode="L", icc_profile=GREY_PROFILE)
    data, _ = ENCODED[way](held)
    assert opened(data).mode == "L"
    assert opened(data).info.get("icc_profile") == GREY_PROFILE
    assert likeness(opened(data), opened(held.encoded)) > 0.9


@pytest.mark.parametrize("way", ENCODED)
def test_a_profile_of_other_colours_does_not_follow(way: str) -> None:
    """That of a CMYK picture: what is made of it is RGB."""
    held = frame(mode="CMYK", icc_profile=SRGB[:16] + b"CMYK" + SRGB[20:])
    data, _ = ENCODED[way](held)
    assert "icc_profile" not in opened(data).info
    assert likeness(opened(data), opened(held.encoded)) > 0.9


@pytest.mark.parametrize("way", ENCODED)
def test_a_profile_with_padding_follows(way: str) -> None:
    """Into a PNG without that: its profile has to have the size that it says."""
    data, _ = ENCODED[way](frame(icc_profile=SRGB + bytes(3)))
    kept = opened(data).info["icc_profile"]
    assert kept.rstrip(b"\0") == SRGB.rstrip(b"\0")
    assert kept == SRGB or "PNG" not in way


def named_colours(image: Image.Image, index: bytes, order: str = "<", **more: object) -> Frame:
    """Return a frame of a camera that says by its EXIF what its colours are."""
    head = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}[order]
    links = [(0x8769, 26), (0xA005, 44)]
    tables = [struct.pack(f"{order}HHHIII", 1, tag, 4, 1, at, 0) for tag, at in links]
    last = struct.pack(f"{order}HHHI4sI", 1, 1, 2, 4, index, 0)
    exif = b"".join([b"Exif\0\0", head, *tables, last])
    return Frame(1, encoded=jpegs.jpeg(image, exif=exif, **more), mime_type=codec.JPEG)


def in_srgb(image: Image.Image) -> tuple[float, ...]:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    shown = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"))
    assert shown is not None
    return tuple(shown.getpixel((5, 5)))  # type: ignore[arg-type]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("way", ENCODED)
def test_colours_that_only_the_exif_names_are_named_by_a_profile(way: str, order: str) -> None:
    """As cameras do that are set to Adobe RGB. The colours are in sRGB what that defines."""
    plain = Image.new("RGB", (WIDTH, HEIGHT), (100, 150, 120))
    data, _ = ENCODED[way](named_colours(plain, b"R03\0", order))
    linear = [(value / 255) ** (563 / 256) for value in (100, 150, 120)]
    xyz = [[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]]
    srgb = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    for matrix in (xyz, srgb):
        linear = [sum(a * b for a, b in zip(row, linear, strict=True)) for row in matrix]
    wanted = [255 * (1.055 * value ** (1 / 2.4) - 0.055) for value in linear]
    assert in_srgb(opened(data)) == pytest.approx(wanted, abs=2)


@pytest.mark.parametrize("way", ENCODED)
def test_a_profile_counts_more_than_the_exif_and_srgb_needs_none(way: str) -> None:
    data, _ = ENCODED[way](named_colours(jpegs.photo(), b"R03\0", icc_profile=SRGB))
    assert opened(data).info["icc_profile"] == SRGB
    for mode, index in (("RGB", b"R98\0"), ("L", b"R03\0")):
        data, _ = ENCODED[way](named_colours(jpegs.photo(mode), index))
        assert "icc_profile" not in opened(data).info


def test_a_profile_of_which_a_part_is_missing_does_not_follow() -> None:
    data = jpegs.jpeg(icc_profile=LONG_PROFILE)
    at = data.index(b"ICC_PROFILE\0\x02")
    cut = data[: at - 4] + data[at - 2 + int.from_bytes(data[at - 2 : at], "big") :]
    made, _ = ENCODED["scaled still"](Frame(1, encoded=cut, mime_type=codec.JPEG))
    assert "icc_profile" not in opened(made).info


def tables(order: str) -> bytes:
    """Return EXIF with a size, an orientation and a thumbnail, in a byte order."""
    mark = b"II" if order == "<" else b"MM"
    small = jpegs.jpeg(jpegs.photo(width=16, height=8))

    def table(entries: list[tuple[int, int, int]], after: int) -> bytes:
        parts = [
            struct.pack(order + ("HHIHxx" if kind == 3 else "HHII"), tag, kind, 1, value)
            for tag, kind, value in entries
        ]
        return (
            struct.pack(order + "H", len(parts)) + b"".join(parts) + struct.pack(order + "I", after)
        )

    first, details, second = 8, 8 + 30, 8 + 30 + 30
    body = mark + struct.pack(order + "HI", 42, first)
    body += table([(0x0112, 3, 6), (0x8769, 4, details)], second)
    body += table([(0xA002, 4, WIDTH), (0xA003, 3, HEIGHT)], 0)
    body += table([(0x0201, 4, second + 30), (0x0202, 4, len(small))], 0) + small
    return b"Exif\0\0" + body


@pytest.mark.parametrize("order", "<>")
def test_a_copy_of_the_exif_says_what_is_true_of_the_copy(order: str) -> None:
    data = jpegs.jpeg(exif=tables(order))
    assert opened(data).getexif().get_ifd(IFD.IFD1), "it has a thumbnail"
    made, size = ENCODED["scaled still"](Frame(1, encoded=data, mime_type=codec.JPEG))
    tags = opened(made).getexif()
    details = tags.get_ifd(IFD.Exif)
    assert tags[Base.Orientation] == 1
    assert (details[Base.ExifImageWidth], details[Base.ExifImageHeight]) == size
    assert not tags.get_ifd(IFD.IFD1), "it would lie on its side"


@pytest.mark.parametrize("length", range(0, 80, 3))
def test_exif_that_is_cut_off_costs_no_picture(length: int) -> None:
    data = jpegs.jpeg(exif=tables("<")[: 6 + length])
    made, size = ENCODED["scaled still"](Frame(1, encoded=data, mime_type=codec.JPEG))
    assert jpeg.whole_size(made) == size


def test_the_profile_is_one() -> None:
    """That the tests use: a program that looks into it finds sRGB."""
    assert ImageCms.getProfileName(ImageCms.ImageCmsProfile(io.BytesIO(SRGB))).startswith("sRGB")
