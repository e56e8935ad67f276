"""The structure of a JPEG: the segments of its header, and whether it is whole."""

import struct
from collections.abc import Iterator

from camsvc.model.errors import DriverError

SOS = 0xFFDA
"""The marker behind which the picture's own data begin."""

_NO_FRAMES = (0xFFC4, 0xFFC8, 0xFFCC)
_TRAILER_BYTES = 4096
"""How much a camera may add behind a picture, apart from zeros."""


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


def whole_size(data: bytes) -> tuple[int, int]:
    """Return width and height of a whole JPEG.

    A truncated one has no end marker: OpenCV and libjpeg decode it all the same, grey below the
    cut, and report success. Some cameras add bytes after it, which no decoder minds. Damage in the
    middle is not seen here.

    Raises:
        DriverError: it is not a JPEG, or not a whole one.
    """
    if not data.startswith(b"\xff\xd8"):
        raise DriverError("corrupt picture: the camera's data is not a JPEG")
    size: tuple[int, int] | None = None
    scan_at = len(data)
    for marker, at, _ in segments(data):
        if marker == SOS:  # from here on, an end marker is the picture's, not a thumbnail's
            scan_at = at
        # SOF0 to SOF15 hold the size; C4, C8 and CC are other things among their numbers.
        elif 0xFFC0 <= marker <= 0xFFCF and marker not in _NO_FRAMES and at + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = width, height
    if data.rfind(b"\xff\xd9", max(scan_at, len(data.rstrip(b"\x00")) - _TRAILER_BYTES)) < 0:
        raise DriverError(f"corrupt picture: the JPEG of {len(data)} bytes has no end marker")
    if size is None:
        raise DriverError("corrupt picture: the JPEG has no frame header")
    return size
