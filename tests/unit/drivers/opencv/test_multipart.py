"""Parts of a stream, however its bytes are cut on their way."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from camsvc.drivers.opencv.multipart import Multipart, Part
from camsvc.model.errors import DriverError
from tests.support.http_camera import numbered

PICTURES = [numbered(count) for count in range(4)]
BOUNDARIES = [b"--x", b"--frame", b"--=_next-part.7", b"----a"]


def parts(stream: bytes, cuts: list[int], declared: str) -> list[Part]:
    """Feed a stream in pieces, the N-th of which arrives at N."""
    multipart, found, at = Multipart(declared), list[Part](), 0
    for number, cut in enumerate([*sorted(cuts), len(stream)]):
        found += multipart.feed(stream[at:cut], number)
        at = max(at, cut)
    return found


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, str, list[bytes]]:
    """Draw a stream, its boundary as its header says it, and the pictures in it."""
    boundary = draw(st.sampled_from(BOUNDARIES))
    end = draw(st.sampled_from([b"\r\n", b"\n"]))
    declared = draw(st.sampled_from([boundary.decode(), boundary.decode().strip("-"), "", "other"]))
    stream, whole = draw(st.sampled_from([b"", end])), []
    for picture in draw(st.lists(st.sampled_from(PICTURES), min_size=1, max_size=5)):
        kind = draw(st.sampled_from(["whole", "cut", "text", "empty"]))
        keep = draw(st.integers(2, len(picture) - 1)) if kind == "cut" else len(picture)
        data = {"text": b"motion=1", "empty": b""}.get(kind, picture[:keep])
        length = draw(st.sampled_from([None, len(data), len(data) + 9999, 1, len(data) // 2]))
        told = b"" if length is None else b"content-length: %d" % length + end
        stream += boundary + end + b"Content-Type: image/jpeg" + end + told + end + data + end
        whole += [picture] if kind == "whole" else []
    return stream + boundary + b"--" + end, declared, whole


@given(streams(), st.data())
def test_whole_pictures_come_out_and_damaged_ones_as_damaged(
    drawn: tuple[bytes, str, list[bytes]], data: st.DataObject
) -> None:
    stream, declared, whole = drawn
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    found = [part.data for part in parts(stream, cuts, declared)]
    assert [part for part in found if part in PICTURES] == whole
    others = [part for part in found if part not in PICTURES]
    assert all(any(picture.startswith(part) for picture in PICTURES) for part in others)


def test_a_part_is_as_old_as_its_first_byte() -> None:
    head = b"--x\r\n\r\n"
    multipart = Multipart()
    assert not list(multipart.feed(head, 1))
    assert not list(multipart.feed(PICTURES[0][:9], 2))
    assert [part.begun_ns for part in multipart.feed(PICTURES[0][9:], 3)] == [2]
    assert not list(multipart.feed(b"\r\n--x\r\n\r\n", 4))
    assert [part.begun_ns for part in multipart.feed(PICTURES[1], 5)] == [5]


PIECES = [b"--x", b"x", b"\r\n", b"\n", b"\r\n\r\n", b"--", b"\xff\xd8", b"\xff\xd9", PICTURES[0]]
HEADERS = [b"Content-Length: 5\r\n", b"Content-Length: 99999999999999\r\n", b"Content-Type: a\r\n"]


@given(
    st.lists(st.sampled_from(PIECES + HEADERS) | st.binary(max_size=9)),
    st.sampled_from(["", "x", "--x", '"']),
)
def test_whatever_comes_has_no_error_but_its_own(pieces: list[bytes], declared: str) -> None:
    multipart = Multipart(declared)
    with contextlib.suppress(DriverError):
        for number, piece in enumerate(pieces):
            for part in multipart.feed(piece, number):
                assert part.data
                assert part.begun_ns <= number
