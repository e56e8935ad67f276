"""The tables of a JPEG's EXIF, as far as they are read: single integers, and where they are."""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from camsvc.images import segments
from camsvc.images.segments import Segment

NAME = b"Exif\0\0"

TABLES_AT = 4 + len(NAME)
"""Where in the segment the tables begin, from which their offsets count."""
EXIF_TABLE = 0x8769
"""Tag of where the second table is."""
_INTEGERS = {3: "H", 4: "I"}
"""SHORT and LONG."""


class Entry(NamedTuple):
    """An integer in a table: where it is, and how it is written."""

    at: int
    form: str


def is_exif(data: bytes | memoryview, segment: Segment) -> bool:
    """Whether a segment of a JPEG holds EXIF."""
    at = segment.begin + 4
    return segment.marker == segments.APP1 and bytes(data[at : at + len(NAME)]) == NAME


def find(data: bytes, header: Iterable[Segment]) -> bytes:
    """Return the segment of a JPEG that holds EXIF; empty: there is none."""
    found = (data[segment.begin : segment.end] for segment in header if is_exif(data, segment))
    return next(found, b"")


def begin(exif: bytes | bytearray | memoryview) -> tuple[str, int]:
    """Return the byte order, as `struct` has it, and where the first table is.

    Raises:
        struct.error: it is cut.
    """
    order = "<" if bytes(exif[TABLES_AT : TABLES_AT + 2]) == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", exif, TABLES_AT + 4)
    return order, TABLES_AT + first


def entries(
    exif: bytes | bytearray | memoryview, order: str, table: int
) -> Iterator[tuple[int, Entry]]:
    """Yield tag and place of a table's single integers.

    Raises:
        struct.error: it is cut.
    """
    (count,) = struct.unpack_from(order + "H", exif, table)
    for at in range(table + 2, table + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHI", exif, at)
        if kind in _INTEGERS and values == 1:
            yield tag, Entry(at + 8, _INTEGERS[kind])
