"""A picture's colour profile (ICC): without it, the same numbers are other colours.

It goes with the pixels into whatever they are encoded as: a JPEG has it in segments of up to 64 KB
each, a PNG in a chunk.
"""

import contextlib
import struct
import zlib

from camsvc.images import exif_tables, segments
from camsvc.images.jpeg import Jpeg
from camsvc.model import adobe_rgb

_NAME = b"ICC_PROFILE\0"
_LONGEST = 0xFFFF - 2 - len(_NAME) - 2
_COLOURS = {1: b"GRAY", 3: b"RGB "}
"""By the components of a picture, what its profile has to be for. That of a CMYK picture is of no
use: its pixels leave the decoder as RGB."""


def profile(data: bytes, found: Jpeg) -> bytes:
    """Return the profile of a JPEG's pixels as they are decoded; empty where there is none."""
    colours = _COLOURS.get(found.components)
    own = _own(data, found)
    if not own and colours == adobe_rgb.PROFILE[16:20] and _is_adobe_rgb(data, found):
        return adobe_rgb.PROFILE
    return own if own[16:20] == colours else b""


def _own(data: bytes, found: Jpeg) -> bytes:
    parts = {}
    for segment in found.header:
        number = segment.begin + 4 + len(_NAME)
        is_part = segment.marker == segments.APP2 and data[segment.begin + 4 : number] == _NAME
        if is_part and number + 2 < segment.end:
            parts[data[number]] = data[number + 2 : segment.end]
    whole = b"".join(parts[number] for number in sorted(parts))
    size = int.from_bytes(whole[:4], "big")  # padding may follow, which PNG does not allow
    return whole[:size] if whole[36:40] == b"acsp" and size <= len(whole) else b""


def _is_adobe_rgb(data: bytes, found: Jpeg) -> bool:
    """Whether its EXIF says so, in the table for other cameras (DCF)."""
    exif = exif_tables.find(data, found.header)
    with contextlib.suppress(struct.error):
        order, at = exif_tables.begin(exif)
        for tag in (exif_tables.EXIF_TABLE, adobe_rgb.OTHERS_TABLE):
            entry = dict(exif_tables.entries(exif, order, at)).get(tag)
            if entry is None:
                return False
            (offset,) = struct.unpack_from(order + entry.form, exif, entry.at)
            at = exif_tables.TABLES_AT + offset
        (count,) = struct.unpack_from(order + "H", exif, at)
        sign = struct.pack(order + "HHI4s", 1, 2, 4, adobe_rgb.SIGN.encode())
        return sign in exif[at : at + 2 + 12 * count]
    return False


def into_jpeg(encoded: bytes | memoryview, profile: bytes) -> bytes:
    """Return a JPEG of ours with a profile, behind its JFIF header."""
    parts = [profile[at : at + _LONGEST] for at in range(0, len(profile), _LONGEST)]
    pieces = []
    for number, part in enumerate(parts, start=1):
        head = struct.pack(">HH", segments.APP2, 2 + len(_NAME) + 2 + len(part))
        pieces += [head, _NAME, bytes([number, len(parts)]), part]
    place = next(segments.find(encoded)).end
    return b"".join([encoded[:place], *pieces, encoded[place:]])


def into_png(encoded: bytes | memoryview, profile: bytes) -> bytes:
    """Return a PNG of ours with a profile, behind its header."""
    place = len(b"\x89PNG\r\n\x1a\n") + 12 + 13
    body = b"iCCP" + b"ICC profile\0\0" + zlib.compress(profile)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return b"".join([encoded[:place], chunk, encoded[place:]])
