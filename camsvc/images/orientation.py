"""How the camera was held: what its EXIF says of it, and says once the pixels stand upright.

A picture that is kept as the camera made it keeps its orientation, which viewers follow. One that
is encoded again is turned upright first, and its copy of the EXIF says so.
"""

import contextlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

from camsvc.images import segments
from camsvc.images.jpeg import Jpeg
from camsvc.images.segments import Segment

UPRIGHT = 1
EXIF = b"Exif\0\0"

_TIFF_AT = 4 + len(EXIF)
"""Where in the segment the tables begin, from which their offsets count."""
_ORIENTATION, _EXIF_TABLE, _WIDTH, _HEIGHT = 0x0112, 0x8769, 0xA002, 0xA003
_INTEGERS = {3: "H", 4: "I"}
"""SHORT and LONG."""


class _Entry(NamedTuple):
    """An integer in a table: where it is, and how it is written."""

    at: int
    form: str


def is_exif(data: bytes | memoryview, segment: Segment) -> bool:
    """Whether a segment of a JPEG holds EXIF."""
    at = segment.begin + 4
    return segment.marker == segments.APP1 and bytes(data[at : at + len(EXIF)]) == EXIF


def of(data: bytes, found: Jpeg) -> int:
    """Return which way a JPEG is to be held, 1 to 8 as in EXIF; 1 where it does not say."""
    segment = next((segment for segment in found.header if is_exif(data, segment)), None)
    if segment is None:
        return UPRIGHT
    exif = data[segment.begin : segment.end]
    with contextlib.suppress(struct.error):
        order, first = _begin(exif)
        if entry := dict(_entries(exif, order, first)).get(_ORIENTATION):
            (value,) = struct.unpack_from(order + entry.form, exif, entry.at)
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def upright(exif: bytes | memoryview, width_px: int, height_px: int) -> bytes:
    """Return a copy of the EXIF for a picture encoded again, upright and of this size.

    It has no thumbnail, which would be the old way round: the link to it is cut. Everything else is
    where it was, as makers' notes want it.
    """
    data = bytearray(exif)
    with contextlib.suppress(struct.error):
        order, first = _begin(data)
        (count,) = struct.unpack_from(order + "H", data, first)
        struct.pack_into(order + "I", data, first + 2 + 12 * count, 0)
        entries = dict(_entries(data, order, first))
        if table := entries.get(_EXIF_TABLE):
            (at,) = struct.unpack_from(order + table.form, data, table.at)
            entries |= dict(_entries(data, order, _TIFF_AT + at))
        for tag, value in {_ORIENTATION: UPRIGHT, _WIDTH: width_px, _HEIGHT: height_px}.items():
            if entry := entries.get(tag):
                struct.pack_into(order + entry.form, data, entry.at, value)
    return bytes(data)


def _begin(exif: bytes | bytearray | memoryview) -> tuple[str, int]:
    """Return the byte order, as `struct` has it, and where the first table is."""
    order = "<" if bytes(exif[_TIFF_AT : _TIFF_AT + 2]) == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", exif, _TIFF_AT + 4)
    return order, _TIFF_AT + first


def _entries(
    exif: bytes | bytearray | memoryview, order: str, table: int
) -> Iterator[tuple[int, _Entry]]:
    """Yield tag and place of a table's single integers."""
    (count,) = struct.unpack_from(order + "H", exif, table)
    for at in range(table + 2, table + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHI", exif, at)
        if kind in _INTEGERS and values == 1:
            yield tag, _Entry(at + 8, _INTEGERS[kind])
