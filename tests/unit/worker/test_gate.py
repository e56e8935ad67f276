"""What passes the gate, and what is beside a picture and does not cost it."""

import re
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from camsvc.images import codec
from camsvc.model import clock
from camsvc.model.errors import DriverError
from camsvc.model.values import Control, File, Frame, Shot
from camsvc.worker import gate
from tests.support import raw_files

GREY = np.full((8, 8), 128, np.uint8)
JPEG = bytes(codec.encode(GREY, codec.JPEG, 90))
RAW = raw_files.tiff()
NOW = -1
"""Stands for the time at which a frame is handed over."""


def still(given: Any, image_format: str = "JPEG", controls: object = ()) -> Frame:
    asked = clock.now()
    return gate.still(dated(given), Shot(format=image_format), asked, controls).frame


def dated(given: Any) -> Any:
    if isinstance(given, Frame) and given.acquisition_time_ns == NOW:
        return replace(given, acquisition_time_ns=time.time_ns())
    return given


def now(**fields: Any) -> Frame:
    return Frame(**{"acquisition_time_ns": NOW, "pixels": GREY, **fields})


def file(**fields: Any) -> Frame:
    return now(**{"pixels": None, "encoded": JPEG, "mime_type": "image/jpeg", **fields})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, "gave nothing instead of a frame"),
        ([], "gave a list instead of a frame"),
        ("no", "gave the text 'no' instead of a frame"),
        (object(), "gave something of another kind instead of a frame"),
        (Frame(0), "before now; allowed"),
        (now(pixels=None), "neither pixels nor a file"),
        (now(encoded=JPEG), "both pixels and a file"),
        (file(encoded=""), "gave the text '' as a file; allowed: bytes"),
        (file(encoded=b""), "the camera's file is empty"),
        (file(encoded=JPEG[:-10]), "corrupt picture"),
        (file(encoded=b"<html><body>login"), "the camera sent an HTML page; allowed: a JPEG"),
        (file(encoded=RAW), "sent a file of the kind TIFF; allowed: a JPEG"),
        (file(announced_bytes=len(JPEG) + 1), f"{len(JPEG)} bytes; it announced {len(JPEG) + 1}"),
        (file(announced_bytes="many"), "it announced the text 'many'"),
        (now(acquisition_time_ns=time.time_ns() - 10**9), "stale picture"),
    ],
)
def test_what_is_no_picture_is_refused_by_what_it_is(given: Any, text: str) -> None:
    with pytest.raises(DriverError, match=text):
        still(given)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (now(), "gave pixels instead of a RAW file"),
        (file(), "sent a file of the kind JPEG; allowed: a RAW file: CR2, CR3, "),
        (file(encoded=RAW[:-1]), "cut off"),
        (file(encoded=b"raw bytes"), "the camera sent text"),
        (file(encoded=b"\0" * 100), "the camera sent zeros alone"),
    ],
)
def test_what_is_no_raw_file_is_refused_where_one_is_asked_for(given: Any, text: str) -> None:
    with pytest.raises(DriverError, match=text):
        still(given, "RAW")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_file_may_be_of_any_kind_of_bytes_and_has_its_own_type(kind: type) -> None:
    passed = still(file(encoded=kind(JPEG), mime_type="image/png", announced_bytes=len(JPEG)))
    assert (passed.encoded, type(passed.encoded)) == (JPEG, bytes)
    assert passed.mime_type == "image/jpeg"
    assert not passed.warnings


@pytest.mark.parametrize(
    ("data", "named", "mime_type"),
    [
        (RAW, "image/x-nikon-nef", "image/x-nikon-nef"),
        (RAW, "application/octet-stream", "image/tiff"),
        (RAW, "image/jpeg", "image/tiff"),
        (RAW, None, "image/tiff"),
        (raw_files.cr2(), "image/x-nikon-nef", "image/x-canon-cr2"),
        (raw_files.cr3(), "", "image/x-canon-cr3"),
    ],
)
def test_a_raw_file_is_named_by_what_it_is(data: bytes, named: Any, mime_type: str) -> None:
    assert still(file(encoded=data, mime_type=named), "RAW").mime_type == mime_type


def test_values_are_made_plain_and_odd_ones_left_out_with_a_warning() -> None:
    controls = {"gain": np.float32(1.5), "iso": np.int64(400), "on": True, "mode": "auto"}
    odd = {"nan": float("nan"), "list": [1], 7: 1, "huge": 1 << 70, "none": None}
    passed = still(now(exposure_us=np.float64(20.4), controls={**controls, **odd}))
    assert passed.controls == {"gain": 1.5, "iso": 400, "on": True, "mode": "auto"}
    assert {type(value) for value in passed.controls.values()} == {float, int, bool, str}
    assert passed.exposure_us == 20
    assert len(passed.warnings) == len(odd)
    assert "the value of control the text 'nan' was left out: nan" in passed.warnings


@pytest.mark.parametrize("wrong", [-1, float("inf"), 1 << 400, "1/60", [], True])
def test_an_exposure_that_is_none_is_left_out_with_a_warning(wrong: Any) -> None:
    passed = still(now(exposure_us=wrong))
    assert passed.exposure_us is None
    assert "the exposure was left out" in passed.warnings[0]


def test_what_the_frame_says_of_a_control_goes_before_what_is_set() -> None:
    controls = [Control("gain", "float", 1.0), Control("focus", "int", 7), "odd"]
    assert still(now(controls={"gain": 2.0}), controls=controls).controls == {
        "gain": 2.0,
        "focus": 7,
    }
    assert still(now(), controls=None).controls == {}


@pytest.mark.parametrize(
    ("odd", "kept", "text"),
    [
        (File("1.JPG", "image/jpeg", JPEG[:-10]), True, "'1.JPG', is kept as it came: corrupt"),
        (File("1.NEF", "image/x-nikon-nef", RAW[:60]), True, "is kept as it came: corrupt"),
        (File("1.NEF", "image/x-nikon-nef", b"<html>"), True, "the camera sent an HTML page"),
        (File("1.JPG", "image/jpeg", JPEG, len(JPEG) + 9), True, "it announced"),
        (File("1.NEF", "image/x-nikon-nef", b""), False, "was left out: .* is empty"),
        (File("1.NEF", "image/x-nikon-nef", None), False, "left out: .* gave nothing as a file"),  # type: ignore[arg-type]
        (b"only bytes", False, "file 2 of the shot was left out: it is bytes"),
    ],
)
def test_an_odd_file_of_the_shot_does_not_cost_the_picture(odd: Any, kept: bool, text: str) -> None:
    good = File("1.WAV", "audio/wav", b"RIFF")
    passed = still(file(encoded=RAW, others=[odd, good]), "RAW")
    assert [each.name for each in passed.others] == [*([odd.name] if kept else []), "1.WAV"]
    (warning,) = passed.warnings
    assert re.search(text, warning)


def test_good_files_of_the_shot_are_kept_with_their_types_and_sizes() -> None:
    others = [File("1.NEF", "", RAW), File("1.XMP", "application/rdf+xml", b"<?xml?>")]
    passed = still(file(others=others))
    assert [(f.mime_type, f.size_px) for f in passed.others] == [
        ("image/tiff", None),
        ("application/rdf+xml", None),
    ]
    assert not passed.warnings
    (side,) = still(file(encoded=RAW, others=[File("1.JPG", "", JPEG)]), "RAW").others
    assert (side.mime_type, side.size_px) == ("image/jpeg", (8, 8))


def test_what_the_driver_warns_of_is_passed_on_in_one_line() -> None:
    passed = still(now(warnings=["no\nflash", 7, "x" * 5000]))
    assert passed.warnings == ["no flash", "x" * 1000]


@pytest.mark.parametrize(
    ("value", "bits", "warned"), [(4095, None, True), (4096, None, False), (5, 12, False)]
)
def test_a_picture_that_may_be_darker_than_it_is_has_a_warning(
    value: int, bits: int | None, warned: bool
) -> None:
    passed = still(now(pixels=np.full((4, 4), value, np.uint16), bits=bits))
    assert bool(passed.warnings) is warned


def test_a_live_frame_passes_with_its_time() -> None:
    asked = clock.now()
    picture, taken = gate.live(dated(now()), asked)
    assert taken.monotonic_ns >= asked.monotonic_ns
    assert picture.frame.pixels is not None
    with pytest.raises(DriverError, match="of float32"):
        gate.live(dated(now(pixels=np.zeros((4, 4), np.float32))), asked)
