"""Whether a RAW file is whole, by its own tables: where they say that its last part ends.

TIFF 6.0 (of which DNG, NEF, CR2, ARW and PEF are), ISO/IEC 14496-12 (CR3), and the head of RAF.
The tables of other kinds are not known here.
"""

import struct
from collections.abc import Iterator

from camsvc.model.errors import DriverError
from camsvc.model.filetype import FileType

_MOST_TABLES = 64
"""A file's tables may lead back to one another."""

_SUB_TABLES = 330
_PLACES = ((273, 279), (324, 325), (513, 514))
"""Strips, tiles, previews: the tags of where they begin, and of how long they are."""
_INTEGERS = {3: "H", 4: "I", 13: "I"}
"""TIFF's SHORT, LONG and IFD, for `struct`."""

_RAF_PLACES = (84, 92, 100)
"""Where a RAF has begin and length of its preview, its table and its picture."""


def check_whole(data: bytes, kind: FileType) -> None:
    """Refuse a RAW file that ends before its last part does.

    Raises:
        DriverError: it does.
    """
    try:
        end = max(_ends(data, kind), default=0)
    except struct.error:  # a table itself is cut
        raise DriverError(
            f"corrupt picture: the {kind.name} file of {len(data)} bytes is cut off"
        ) from None
    if end > len(data):
        raise DriverError(
            f"corrupt picture: the {kind.name} file of {len(data)} bytes is cut off; by its own "
            f"tables it has {end} or more"
        )


def _ends(data: bytes, kind: FileType) -> Iterator[int]:
    if data.startswith((b"II*\0", b"MM\0*")):
        return _tiff_ends(data, "<" if data.startswith(b"II") else ">")
    if kind.name == "CR3":
        return _box_ends(data)
    if kind.name == "RAF":
        return (sum(struct.unpack_from(">II", data, at)) for at in _RAF_PLACES)
    return iter(())


def _tiff_ends(data: bytes, order: str) -> Iterator[int]:
    tables = list(struct.unpack_from(f"{order}I", data, 4))
    for at in tables:  # which grows meanwhile
        (count,) = struct.unpack_from(f"{order}H", data, at)
        entries = {
            tag: _integers(data, order, place, code, number)
            for place in range(at + 2, at + 2 + 12 * count, 12)
            for tag, code, number in [struct.unpack_from(f"{order}HHI", data, place)]
        }
        for begins, lengths in _PLACES:
            pairs = zip(entries.get(begins, ()), entries.get(lengths, ()), strict=False)
            yield from (begin + length for begin, length in pairs)
        following = data[at + 2 + 12 * count : at + 6 + 12 * count]
        more = struct.unpack(f"{order}I", following) if len(following) == 4 else ()
        found = [place for place in (*entries.get(_SUB_TABLES, ()), *more) if place]
        tables += [place for place in found if place not in tables]
        del tables[_MOST_TABLES:]


def _integers(data: bytes, order: str, place: int, code: int, number: int) -> tuple[int, ...]:
    """Return an entry's values, which are in it where they fit; none of other types."""
    if code not in _INTEGERS:
        return ()
    form = f"{order}{number}{_INTEGERS[code]}"
    at = place + 8
    if struct.calcsize(form) > 4:
        (at,) = struct.unpack_from(f"{order}I", data, at)
    return struct.unpack_from(form, data, at)


def _box_ends(data: bytes) -> Iterator[int]:
    at = 0
    while at + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
        if size == 0:  # the last one, up to the end
            return
        at += max(size, 8)
        yield at
