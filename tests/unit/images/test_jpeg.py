"""Whole or not: as an independent strict decoder says, of every structure, cut anywhere."""

import hashlib

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from camsvc.images import jpeg, scan, segments
from camsvc.model.errors import DriverError
from tests.support import jpegs
from tests.support.jpegs import HEIGHT, KINDS, TRAILERS, WIDTH
from tests.support.timing import Timings

OTHER = jpegs.jpeg(jpegs.photo(width=64, height=48))
FOLLOWING = {**TRAILERS, "another picture": OTHER, "another, cut": OTHER[: len(OTHER) // 2]}
MISLEADING = ("a video", "an end marker")
"""Behind a cut scan, their end marker is taken for the picture's."""


def refusal(data: bytes) -> str:
    with pytest.raises(DriverError, match="corrupt picture: ") as caught:
        jpeg.whole_size(data)
    return str(caught.value)


def leniently_decoded(data: bytes) -> npt.NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.asarray(pixels, np.uint8)


def accepted(data: bytes) -> bool:
    try:
        jpeg.read(data)
    except DriverError:
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_one_is_what_it_is(kind: str) -> None:
    found = jpeg.read(KINDS[kind])
    assert (found.width_px, found.height_px) == ((1, 1) if kind == "one pixel" else (WIDTH, HEIGHT))
    assert found.process == ("progressive" if "progressive" in kind else "baseline")
    assert found.components == (1 if "grey" in kind else 4 if kind == "CMYK" else 3)
    assert found.bits == 8
    assert jpegs.strictly_decoded(KINDS[kind]) is not None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("following", FOLLOWING)
def test_what_follows_the_end_does_not_count(kind: str, following: str) -> None:
    assert jpeg.read(KINDS[kind] + FOLLOWING[following]) == jpeg.read(KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("following", FOLLOWING)
def test_cut_at_any_marker_it_is_refused(kind: str, following: str) -> None:
    """At a marker, in it, or a few bytes behind it: as the strict decoder says."""
    whole = KINDS[kind]
    places = jpegs.markers(whole)
    if following in MISLEADING:
        places = [place for place in places if place < whole.index(b"\xff\xda")]
    cuts = {place + more for place in places for more in (-1, 0, 1, 2, 3, 8)}
    for cut in sorted(cuts & set(range(2, len(whole)))):
        data = whole[:cut] + FOLLOWING[following]
        assert accepted(data) == (jpegs.strictly_decoded(data) is not None), cut


def test_what_a_walk_does_not_see() -> None:
    """Bytes left out between two markers; only decoding shows that."""
    whole = KINDS["baseline"]
    scan = whole.index(b"\xff\xda") + 14
    for data in (whole[: scan + 100] + whole[-100:], whole[: scan + 100] + b"\xff\xd9"):
        assert accepted(data)
        assert jpegs.strictly_decoded(data) is None


@st.composite
def structures(draw: st.DrawFn) -> bytes:
    """Draw a picture with fill bytes, whole or cut, its restart intervals in disorder, and more."""
    data = KINDS[draw(st.sampled_from(list(KINDS)))]
    if draw(st.booleans()):
        data = jpegs.filled(data, draw(st.lists(st.integers(0, 3), min_size=1, max_size=6)))
    scans = jpegs.restarts(data)
    if draw(st.booleans()) and scans:
        place = st.sampled_from(scans[draw(st.integers(0, len(scans) - 1))])
        first, last = sorted(draw(st.tuples(place, place)))
        twice = data[first:last] if draw(st.booleans()) else b""
        data = data[:first] + twice * 2 + data[last:]
    following = draw(st.sampled_from(list(FOLLOWING)))
    if draw(st.booleans()):
        following = "zeros" if following in MISLEADING else following
        data = data[: draw(st.integers(2, len(data) - 1))]
    return data + FOLLOWING[following]


@settings(max_examples=1500, deadline=None)
@given(data=structures())
def test_it_is_accepted_exactly_when_a_strict_decoder_reads_it_whole(data: bytes) -> None:
    pixels = jpegs.strictly_decoded(data)
    assert accepted(data) == (pixels is not None)
    if pixels is not None:
        assert jpeg.whole_size(data) == pixels.shape[1::-1]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the camera's data is not a JPEG"),
        (b"<html>", "the camera's data is not a JPEG"),
        (KINDS["baseline"][:400], "the JPEG of 400 bytes ends in the middle"),
        (KINDS["baseline"][:-2] + OTHER, "ends in the middle, where another one begins, at byte "),
        (
            KINDS["restart each row"].replace(b"\xff\xd2", b"\xff\xd3"),
            "restart markers in a scan",
        ),
        (b"\xff\xd8\xff\xda\0\x08\1\1\0\0\x3f\0 \xff\xd9", "has no frame header"),
        (b"\xff\xd8\xff\xd9", "has a size of 0 x 0"),
        (KINDS["grey"].replace(b"\0\x48\0\x78", b"\0\x48\0\0"), "has a size of 0 x 72"),
        (KINDS["baseline"].replace(b"\xff\xe0", b"\xff\xa0", 1), "is damaged at byte 2"),
        (
            KINDS["baseline"].replace(b"\xff\xdb\0C", b"\xff\xdb\0D", 1),
            "in the segment at byte 20",
        ),
    ],
)
def test_it_says_what_is_wrong(data: bytes, why: str) -> None:
    assert why in refusal(data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "stray", [b"\0", b"\0\xff\0", b"\xff\0\xff\0", bytes(608), b"\xff" * 10**5 + b"\0"]
)
def test_stray_bytes_before_a_segment_are_passed_over(kind: str, stray: bytes) -> None:
    """As decoders do, and warn; before its end marker, too."""
    whole = KINDS[kind]
    for place in jpegs.markers(whole)[2:]:
        if not 0xD0 <= whole[place + 1] <= 0xD7:
            data = whole[:place] + stray + whole[place:]
            assert jpeg.whole_size(data) == jpeg.whole_size(whole), place
            assert np.array_equal(leniently_decoded(data), leniently_decoded(whole)), place


@pytest.mark.parametrize("stray", [b"", b"\r\n", b"\xff", bytes(64)])
def test_it_may_begin_a_few_bytes_late(stray: bytes) -> None:
    assert jpeg.begun(stray + KINDS["baseline"]) == KINDS["baseline"]


@pytest.mark.parametrize("stray", [bytes(65), b"II+\0" * 99])
def test_what_comes_much_later_is_a_preview_in_something_else(stray: bytes) -> None:
    assert jpeg.begun(stray + KINDS["baseline"]) == stray + KINDS["baseline"]


def test_segments_are_found_behind_fill_bytes() -> None:
    data = KINDS["EXIF, profile, comment"]
    plain = [(part.marker, data[part.begin : part.end]) for part in segments.find(data)]
    data = jpegs.filled(data, [2])
    assert [(part.marker, data[part.begin : part.end]) for part in segments.find(data)] == plain


def test_without_numpy_a_scan_ends_at_the_same_place() -> None:
    """Some drivers have it not loaded; across the bounds of what is looked at together, too."""
    for whole in KINDS.values():
        for data in (whole, jpegs.filled(whole, [2, 0, 1])):
            at = data.index(b"\xff\xda") + 14
            ends = {scan.end(data, at, at_once) for at_once in (7, 64, 1 << 19)}
            assert ends == {scan.end_without_numpy(data, at)}
            cut = data[: ends.pop()[0]]
            assert scan.end(cut, at)[0] == scan.end_without_numpy(cut, at)[0] == -1


@pytest.mark.timed
@pytest.mark.parametrize("kind", ["baseline", "progressive", "restart markers"])
def test_25_mb_are_walked_in_15_ms(kind: str) -> None:
    """As many bytes, with about as many 0xFF among them as a photograph has, in its last scan."""
    options: dict[str, dict[str, object]] = {
        "progressive": {"progressive": True},
        "restart markers": {"restart_marker_rows": 1},
    }
    grain = np.random.default_rng(1).integers(0, 256, (1500, 2000, 3), np.uint8)
    data = jpegs.jpeg(Image.fromarray(grain), quality=95, **options.get(kind, {}))
    if kind != "restart markers":
        last = data.rindex(b"\xff\xda") + 16
        data = data[:-2] + data[last:-4] * (25 * 10**6 // (len(data) - last)) + b"\0\xff\xd9"
        assert len(data) > 20 << 20
    walks, hashes = Timings(), Timings()
    for _ in range(7):
        with walks.one():
            jpeg.read(data)
        with hashes.one():
            hashlib.sha256(data).digest()
    print(f"{len(data)} bytes: {walks}; SHA-256 of the same bytes: {hashes}")
    assert walks.percentile_s(1) <= 0.015 * len(data) / 25e6
