"""Motion JPEG as every program reads it: with the Huffman tables that it leaves out."""

import re
import struct

import numpy as np
import pytest

from camsvc.images import codec, completed, jpeg, segments
from camsvc.model.errors import DriverError
from camsvc.model.values import Frame, LiveVariant, Shot
from tests.support import jpegs
from tests.support.jpegs import KINDS, WIDTH

TABLES = re.compile(rb"\xff\xc4(?:\0\x1f[\0\1].{28}|\0\xb5[\x10\x11].{178})", re.DOTALL)
"""One for each class and number, as libjpeg writes those of the standard."""
AVI1 = b"\xff\xe0" + struct.pack(">H", 16) + b"AVI1" + bytes(10)
"""In place of JFIF's header, as webcams have it."""
STANDARD = ["baseline", "4:4:4", "4:2:2", "grey", "restart each third", "EXIF, profile, comment"]


def bare(kind: str) -> bytes:
    """Return one without tables, as a webcam delivers it."""
    data, count = TABLES.subn(b"", KINDS[kind])
    assert count == (2 if kind == "grey" else 4)
    return data


def same(one: bytes, other: bytes) -> bool:
    """Whether a strict decoder reads both, as the same pixels."""
    a, b = jpegs.strictly_decoded(one), jpegs.strictly_decoded(other)
    return a is not None and b is not None and np.array_equal(a, b)


def in_order(data: bytes) -> list[bytes]:
    """Return the tables of a JPEG, in the order of their numbers."""
    whole = b"".join(
        data[at + 4 : end] for marker, at, end in segments.find(data) if marker == segments.DHT
    )
    found = {}
    while whole:
        length = 17 + sum(whole[1:17])
        found[whole[0]], whole = whole[:length], whole[length:]
    return [found[number] for number in sorted(found)]


@pytest.mark.parametrize("kind", STANDARD)
def test_the_tables_are_those_that_a_program_writes_that_knows_nothing_of_us(kind: str) -> None:
    data, found = completed.read(bare(kind))
    ours = in_order(data)
    assert all(table in ours for table in in_order(KINDS[kind]))
    assert len(ours) == 4
    assert same(data, KINDS[kind])
    assert jpeg.whole_size(data) == (found.width_px, found.height_px)


def test_avi1_may_stand_where_jfif_has_its_header() -> None:
    without = bare("baseline")
    data, _ = completed.read(without[:2] + AVI1 + without[20:])
    assert data[2:20] == AVI1
    assert len(in_order(data)) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_tables_stays_as_it_is(kind: str) -> None:
    data, _ = completed.read(KINDS[kind])
    assert data is KINDS[kind]


def test_tables_are_there_wherever_the_picture_goes() -> None:
    frame = Frame(1, encoded=bare("baseline"), mime_type=codec.JPEG)
    still, _ = codec.finish(codec.Picture(frame), Shot())
    picture = codec.Picture(frame)
    for variant in (LiveVariant(1), LiveVariant(1, max_width_px=WIDTH // 2)):
        (output,) = picture.live_outputs([variant])
        assert len(in_order(bytes(picture.render(output)))) == 4
    assert in_order(bytes(still)) == in_order(KINDS["baseline"])


@pytest.mark.parametrize("kind", ["progressive", "tables of its own", "restart each row"])
def test_only_a_baseline_picture_without_any_table_gets_them(kind: str) -> None:
    """Of a progressive one they would be wrong; where one is there, the others are lost."""
    data = KINDS[kind]
    tables = [part for part in jpeg.read(data).header if part.marker == segments.DHT]
    first = tables[0]
    without = data[: first.begin] + data[first.end :]
    with pytest.raises(DriverError, match="lacks tables"):
        completed.read(without)
    assert jpegs.strictly_decoded(data) is not None


def test_a_height_that_follows_the_first_scan_is_put_in_its_place() -> None:
    data = KINDS["baseline"]
    lines = jpeg.read(data).frame.begin + 5
    end = jpegs.markers(data)[-1]
    number = struct.pack(">HH", 0xFFDC, 4) + data[lines : lines + 2]
    late = data[:lines] + b"\0\0" + data[lines + 2 : end] + number + data[end:]
    assert jpegs.strictly_decoded(late) is None
    assert jpeg.whole_size(late) == jpeg.whole_size(data)
    whole, _ = completed.read(late)
    assert same(whole, data)
    none = data[:lines] + b"\0\0" + data[lines + 2 :]
    with pytest.raises(DriverError, match=f"has a size of {WIDTH} x 0"):
        completed.read(none)
