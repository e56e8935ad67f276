"""What a camera sends as one picture: its JPEG is passed on, a PNG or WebP is decoded."""

import contextlib
import struct
import zlib
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from camsvc.images import jpeg
from camsvc.model import filetype
from camsvc.model.errors import DriverError
from camsvc.model.values import Frame

if TYPE_CHECKING:
    import numpy.typing as npt

_DECODED = (filetype.PNG, "image/webp")
MIME_TYPES = (filetype.JPEG, "image/jpg", "image/pjpeg", *_DECODED)
"""As what cameras announce it."""

_PNG_HEAD = 8
_CHUNK = struct.Struct(">I4s")


def begins(data: bytes) -> bool:
    """Whether data begin as such a picture."""
    kind = filetype.of(data)
    return kind is not None and kind.mime_type in MIME_TYPES


def frame(acquired_ns: int, data: bytes) -> tuple[Frame, tuple[int, int]]:
    """Return a picture as a frame, and its width and height in pixels.

    Raises:
        DriverError: it is not whole, or no such picture.
    """
    kind = filetype.of(data)
    if kind is None or kind.mime_type not in _DECODED:
        data = jpeg.begun(data) if kind is None else data
        return Frame(acquired_ns, encoded=data, mime_type="image/jpeg"), jpeg.whole_size(data)
    is_whole = _is_whole_png(data) if kind.mime_type == filetype.PNG else _is_whole_riff(data)
    pixels: npt.NDArray[Any] | None = None
    if is_whole:
        with contextlib.suppress(cv2.error):  # of a size that it refuses
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise DriverError(f"corrupt picture: the {kind.name} of {len(data)} bytes is damaged")
    height, width = pixels.shape[:2]
    return Frame(acquired_ns, pixels), (width, height)


def _is_whole_png(data: bytes) -> bool:
    """Whether each chunk is there, as its checksum says, up to the last one."""
    at, name = _PNG_HEAD, b""
    while name != b"IEND" and at + _CHUNK.size <= len(data):
        length, name = _CHUNK.unpack_from(data, at)
        end = at + _CHUNK.size + length
        if data[end : end + 4] != struct.pack(">I", zlib.crc32(data[at + 4 : end])):
            return False
        at = end + 4
    return name == b"IEND"


def _is_whole_riff(data: bytes) -> bool:
    return len(data) >= 8 + int.from_bytes(data[4:8], "little")
