"""EXIF as programs read it that know nothing of us: Pillow and OpenCV."""

import io
import json
import struct
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from PIL.ExifTags import IFD, Base

from camsvc import __version__
from camsvc.images import codec, exif, jpeg
from camsvc.model.values import ControlValue, DeviceInfo, Frame, Shot

TAKEN_NS = 1_790_000_000_012_345_678
"""2026-09-21 14:13:20 UTC, and 12,345 microseconds."""
DEVICE = DeviceInfo("Rig 5", ["JPEG"], make="Kamerawerk")
PIXELS = np.random.default_rng(7).integers(0, 256, (48, 64, 3), np.uint8)
PLAIN = bytes(codec.encode(PIXELS, codec.JPEG, 90))
JFIF_END = 20
UMLAUTS = {"Ort": "Gewächshaus 3", "种": "🌱"}


def tagged(
    data: bytes = PLAIN,
    *,
    device: DeviceInfo = DEVICE,
    labels: str = "",
    exposure_us: int | None = None,
    **controls: ControlValue,
) -> bytes:
    frame = Frame(TAKEN_NS, None, data, codec.JPEG, exposure_us, controls)
    return b"".join(exif.tagged(data, frame, device, labels, size_px=(64, 48)))


def read(data: bytes) -> tuple[dict[int, object], dict[int, object]]:
    """Return the tags of the picture, and those of its EXIF table."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        found = image.getexif()
        return dict(found), dict(found.get_ifd(IFD.Exif))


def comment(data: bytes) -> dict[str, object]:
    raw = read(data)[1][Base.UserComment]
    assert isinstance(raw, bytes)
    code, text = raw[:8], raw[8:]
    codec = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16-be"}[code]
    said: dict[str, object] = json.loads(text.decode(codec))
    return said


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 2
    while (marker := struct.unpack_from(">H", data, at)[0]) != 0xFFDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def test_times_are_in_utc_and_to_the_microsecond() -> None:
    main, details = read(tagged())
    assert main[Base.DateTime] == "2026:09:21 14:13:20"
    assert details[Base.DateTimeOriginal] == "2026:09:21 14:13:20"
    assert details[Base.DateTimeDigitized] == "2026:09:21 14:13:20"
    for tag in (Base.SubsecTime, Base.SubsecTimeOriginal, Base.SubsecTimeDigitized):
        assert details[tag] == "012345"
    for tag in (Base.OffsetTime, Base.OffsetTimeOriginal, Base.OffsetTimeDigitized):
        assert details[tag] == "+00:00"


def test_it_says_what_took_the_picture() -> None:
    main, details = read(tagged())
    assert main[Base.Make] == "Kamerawerk"
    assert main[Base.Model] == "Rig 5"
    assert main[Base.Software] == f"camsvc {__version__}"
    assert details[Base.ExifVersion] == b"0232"


def test_what_is_not_known_is_not_said() -> None:
    main, details = read(tagged(device=DeviceInfo("Rig 5", ["JPEG"])))
    assert Base.Make not in main
    unknown = {Base.ExposureTime, Base.ISOSpeedRatings, Base.SubjectDistance, Base.UserComment}
    assert not unknown & set(details)


@pytest.mark.parametrize(
    ("exposure_us", "expected"), [(10_000, (1, 100)), (1, (1, 10**6)), (2_500_000, (5, 2))]
)
def test_the_exposure_is_in_seconds(exposure_us: int, expected: tuple[int, int]) -> None:
    value = read(tagged(exposure_us=exposure_us))[1][Base.ExposureTime]
    assert isinstance(value, TiffImagePlugin.IFDRational)
    assert (value.numerator, value.denominator) == expected


@pytest.mark.parametrize(
    ("iso", "expected"),
    [(400, 400), ("1600", 1600), (100.0, 100), (102_400, 65_535), ("Auto", None), ("", None)],
)
def test_the_sensitivity(iso: ControlValue, expected: int | None) -> None:
    assert read(tagged(iso=iso))[1].get(Base.ISOSpeedRatings) == expected


@pytest.mark.parametrize(
    ("dioptres", "metres"), [(2.0, 0.5), (15, 1 / 15), (0.001, 1000.0), (8.2, 1 / 8.2)]
)
def test_the_distance_is_in_metres(dioptres: float, metres: float) -> None:
    value = read(tagged(focus_distance_diopters=dioptres))[1][Base.SubjectDistance]
    assert value == pytest.approx(metres)


@pytest.mark.parametrize("dioptres", [0.0, 0, 1e-9, -0.1])
def test_infinity_is_what_the_standard_has_for_it(dioptres: float) -> None:
    value = read(tagged(focus_distance_diopters=dioptres))[1][Base.SubjectDistance]
    assert isinstance(value, TiffImagePlugin.IFDRational)
    assert (value.numerator, value.denominator) == (0xFFFFFFFF, 1)


def test_a_distance_is_not_said_where_the_camera_focuses_by_itself() -> None:
    data = tagged(focus_distance_diopters=2.0, focus_mode="auto")
    assert Base.SubjectDistance not in read(data)[1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "far"])
def test_values_that_mean_nothing_are_left_out(value: ControlValue) -> None:
    details = read(tagged(focus_distance_diopters=value, iso=value, gain=value))[1]
    assert not {Base.ISOSpeedRatings, Base.SubjectDistance, Base.UserComment} & set(details)


@pytest.mark.parametrize("labels", [{"plant": "7"}, UMLAUTS], ids=["ASCII", "other"])
def test_labels_and_gain_are_in_the_comment(labels: dict[str, str]) -> None:
    assert comment(tagged(labels=json.dumps(labels), gain=1.5)) == {"labels": labels, "gain": 1.5}
    assert comment(tagged(labels=json.dumps(labels))) == {"labels": labels}
    assert comment(tagged(gain=2)) == {"gain": 2}


def test_labels_that_do_not_fit_are_left_out_and_that_is_said() -> None:
    fit = []
    for size in range(64_900, 65_540, 20):
        data = tagged(labels=json.dumps({"a": "x" * size}), gain=1.5)
        said = comment(data)
        assert said.pop("gain") == 1.5
        fit.append("labels" in said)
        assert said == ({"labels": {"a": "x" * size}} if fit[-1] else {"labels_omitted": True})
    assert fit == sorted(fit, reverse=True)
    assert set(fit) == {True, False}


def test_names_without_end_leave_room_for_the_rest() -> None:
    device = DeviceInfo("x" * 100_000, ["JPEG"], make="ü" * 100_000)
    main, details = read(tagged(device=device))
    assert main[Base.Model] == "x" * 200
    assert Base.DateTimeOriginal in details


def test_values_are_of_the_standards_types() -> None:
    """Pillow reads the comment whatever its type is; others do not."""
    body = dict(segments(tagged(gain=1.5, iso=400, exposure_us=5)))[0xFFE1]
    tiff = body[6:]
    types = {}
    tables = [struct.unpack_from(">I", tiff, 4)[0]]
    for table in tables:
        (count,) = struct.unpack_from(">H", tiff, table)
        for at in range(table + 2, table + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(">HHII", tiff, at)
            types[tag] = kind
            if tag == IFD.Exif:
                tables.append(value)
    ascii_, short, long, rational, undefined = 2, 3, 4, 5, 7
    assert types[IFD.Exif] == long
    assert types[Base.DateTimeOriginal] == ascii_
    assert types[Base.ISOSpeedRatings] == short
    assert types[Base.ExposureTime] == rational
    assert types[Base.UserComment] == types[Base.ExifVersion] == undefined


def test_the_picture_is_the_same_bytes_around_the_segment() -> None:
    data = tagged(labels=json.dumps(UMLAUTS))
    added = len(data) - len(PLAIN)
    assert data[:JFIF_END] + data[JFIF_END + added :] == PLAIN
    ours = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    plain = cv2.imdecode(np.frombuffer(PLAIN, np.uint8), cv2.IMREAD_COLOR)
    assert ours is not None
    assert plain is not None
    assert np.array_equal(ours, plain)
    assert jpeg.whole_size(data) == (64, 48)


def test_it_comes_after_jfif_or_first() -> None:
    assert PLAIN[2:11] == b"\xff\xe0\x00\x10JFIF\0"
    assert [marker for marker, _ in segments(tagged())][:2] == [0xFFE0, 0xFFE1]
    without = PLAIN[:2] + PLAIN[JFIF_END:]
    data = tagged(without, iso=100)
    assert next(segments(data))[0] == 0xFFE1
    assert read(data)[1][Base.ISOSpeedRatings] == 100


@pytest.mark.parametrize("first", [b"", b"http://ns.adobe.com/xap/1.0/\0<x/>"])
def test_a_cameras_own_exif_is_kept_byte_for_byte(first: bytes) -> None:
    own = Image.Exif()
    own[Base.Make] = "the camera itself"
    written = io.BytesIO()
    Image.fromarray(PIXELS).save(written, "JPEG", exif=own)
    data = written.getvalue()
    if first:  # another kind of APP1 in front of it
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(first) + 2) + first + data[2:]
    assert read(data)[0][Base.Make] == "the camera itself"
    assert tagged(data, labels=json.dumps(UMLAUTS)) == data


def test_a_smaller_copy_stands_upright_and_has_the_cameras_own_exif() -> None:
    own = Image.Exif()
    own[Base.Make], own[Base.Orientation] = "the camera itself", 6
    written = io.BytesIO()
    Image.fromarray(PIXELS).save(written, "JPEG", exif=own)
    frame = Frame(TAKEN_NS, encoded=written.getvalue(), mime_type=codec.JPEG)
    data, output = codec.finish(codec.Picture(frame), Shot(max_width_px=32))
    size = output.width_px, output.height_px
    copy = b"".join(exif.tagged(data, frame, DEVICE, "", size_px=size))
    assert (read(copy)[0][Base.Make], read(copy)[0][Base.Orientation]) == ("the camera itself", 1)
    assert jpeg.whole_size(copy) == (32, 43)
    png, _ = codec.finish(codec.Picture(frame), Shot(format="PNG"))
    assert exif.tagged(png, frame, DEVICE, "", size_px=(48, 64)) == [png]


def test_other_metadata_is_no_exif() -> None:
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x/>"
    data = PLAIN[:JFIF_END] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + PLAIN[JFIF_END:]
    assert read(tagged(data, iso=100))[1][Base.ISOSpeedRatings] == 100
    assert xmp in tagged(data)


@pytest.mark.parametrize(
    "data",
    [
        bytes(codec.encode(PIXELS, codec.PNG, None)),
        b"II*\0\x10\0\0\0CR\2\0" + bytes(100),
        b"",
        PLAIN[:JFIF_END],
        PLAIN[:JFIF_END] + bytes(100),
        PLAIN[:JFIF_END] + b"\xff\xe2\0\0" + PLAIN[JFIF_END:],
    ],
    ids=["PNG", "RAW", "nothing", "cut off", "zeros", "a segment without length"],
)
def test_what_is_no_jpeg_that_can_be_followed_is_left_alone(data: bytes) -> None:
    assert tagged(data) == data
