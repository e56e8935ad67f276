"""The header of a JPEG, segment by segment."""

import struct
from collections.abc import Iterator

SOS = 0xFFDA
"""The marker behind which the picture's own data begin."""


def segments(data: bytes | memoryview) -> Iterator[tuple[int, int, int]]:
    """Yield marker, begin and end of each segment; `SOS` is the last, unless the header is broken.

    `data` begins with a JPEG's first marker. A segment's end may lie behind that of the data.
    """
    at = 2
    while at + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker >> 8 != 0xFF or length < 2:
            return
        yield marker, at, at + 2 + length
        if marker == SOS:
            return
        at += 2 + length
