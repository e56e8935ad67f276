"""How the camera was held: what its EXIF says of it, and says once the pixels stand upright.

A picture that is kept as the camera made it keeps its orientation, which viewers follow. One that
is encoded again is turned upright first, and its copy of the EXIF says so.
"""

import contextlib
import struct

from camsvc.images import exif_tables as tables
from camsvc.images.jpeg import Jpeg

UPRIGHT = 1
_ORIENTATION, _WIDTH, _HEIGHT = 0x0112, 0xA002, 0xA003


def of(data: bytes, found: Jpeg) -> int:
    """Return which way a JPEG is to be held, 1 to 8 as in EXIF; 1 where it does not say."""
    exif = tables.find(data, found.header)
    with contextlib.suppress(struct.error):
        order, first = tables.begin(exif)
        if entry := dict(tables.entries(exif, order, first)).get(_ORIENTATION):
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
        order, first = tables.begin(data)
        (count,) = struct.unpack_from(order + "H", data, first)
        struct.pack_into(order + "I", data, first + 2 + 12 * count, 0)
        entries = dict(tables.entries(data, order, first))
        if table := entries.get(tables.EXIF_TABLE):
            (at,) = struct.unpack_from(order + table.form, data, table.at)
            entries |= dict(tables.entries(data, order, tables.TABLES_AT + at))
        for tag, value in {_ORIENTATION: UPRIGHT, _WIDTH: width_px, _HEIGHT: height_px}.items():
            if entry := entries.get(tag):
                struct.pack_into(order + entry.form, data, entry.at, value)
    return bytes(data)
