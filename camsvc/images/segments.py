"""The segments of a JPEG, and what they say of its picture (ITU-T T.81, B.2).

What they have said so far is a value, `Said`; each segment makes another one of it. A segment that
is not as one of its kind has to be raises `Damaged`.
"""

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

APP0, APP1, APP2, SOS = 0xFFE0, 0xFFE1, 0xFFE2, 0xFFDA
DHT = 0xFFC4
_DAC, _DQT, _DNL, _DRI, _COM = 0xFFCC, 0xFFDB, 0xFFDC, 0xFFDD, 0xFFFE

PROCESSES = {
    0xFFC0: "baseline",
    0xFFC1: "extended",
    0xFFC2: "progressive",
    0xFFC3: "lossless",
    0xFFC9: "arithmetic",
    0xFFCA: "arithmetic progressive",
    0xFFCB: "arithmetic lossless",
}
"""By the marker of the frame header; without the hierarchical ones, which nobody writes."""

KNOWN = {*PROCESSES, *range(APP0, APP0 + 16), SOS, DHT, _DAC, _DQT, _DNL, _DRI, _COM}

MARKER = re.compile(rb"\xff+([^\xff\x00])")
"""With the fill bytes that may stand before it."""
_NEXT_MARKER = re.compile(rb"\xff[^\xff\x00]")
_SOI = b"\xff\xd8"
_HEAD = struct.Struct(">HH")
"""A segment's marker and length."""

_QUANTISATION = 0x100


class Damaged(Exception):
    """Says what is wrong with a JPEG, as the end of a sentence."""


class Segment(NamedTuple):
    """Where a segment lies in the data: its marker's first byte, and the byte behind its end."""

    marker: int
    begin: int
    end: int


def find(data: bytes | memoryview, at: int = 2) -> Iterator[Segment]:
    """Yield the segments from `at` on, up to a scan's header or to a marker that has no segment.

    Stray bytes between two of them are passed over, as decoders do: some cameras leave a few there.
    Not behind a start of a picture: its own, as no decoder looks farther, or that of another one in
    the last segment, which then was cut. A segment's end may lie behind that of the data.
    """
    marker, begin = 0, 0
    while marker != SOS and at + 4 <= len(data):
        marker, length = _HEAD.unpack_from(data, at)
        if marker not in KNOWN:
            found = _NEXT_MARKER.search(data, at)
            if not found or found.end() + 2 > len(data):
                return
            is_stray = bytes(data[at : found.start()]).strip(b"\xff")
            if is_stray and _SOI in bytes(data[begin : found.start()]):
                return
            at = found.start()
            marker, length = _HEAD.unpack_from(data, at)
        if marker not in KNOWN or length < 2:
            return
        begin, at = at, at + 2 + length
        yield Segment(marker, begin, at)


class _Component(NamedTuple):
    """A component of the frame: its sampling and its table, by the standard's names."""

    h: int
    v: int
    tq: int


class Said(NamedTuple):
    """What the segments have said so far."""

    process: str = ""
    bits: int = 0
    width: int = 0
    height: int = 0
    components: Mapping[int, _Component] = MappingProxyType({})
    shown: frozenset[int] = frozenset()
    """Components of which there was a scan."""
    tables: frozenset[int] = frozenset()
    """Of Huffman codes by class and number; of quantisation, from `_QUANTISATION` on."""
    interval: int = 0
    """MCUs between two restart markers; 0: there are none."""
    mcus: int = 0
    """Of the last scan."""


def read(said: Said, data: bytes, at: int) -> Said:
    """Return what has been said after the segments from `at` on."""
    for segment in find(data, at):
        body = data[segment.begin + 4 : segment.end]
        try:
            said = _read_segment(said, segment.marker, body)
        except (struct.error, LookupError, ValueError):
            raise Damaged(f"is damaged in the segment at byte {segment.begin}") from None
    return said


def _read_segment(said: Said, marker: int, body: bytes) -> Said:
    """Return what has been said after one more segment.

    Raises:
        struct.error, LookupError, ValueError: it is not as one of its kind has to be.
    """
    if marker in PROCESSES:
        return _read_frame(said, marker, body)
    if marker == SOS:
        return _read_scan(said, body)
    if marker in (DHT, _DQT):
        return said._replace(tables=said.tables | _read_tables(marker, body))
    if marker == _DRI:
        return said._replace(interval=struct.unpack(">H", body)[0])
    if marker == _DNL:
        return said._replace(height=said.height or struct.unpack(">H", body)[0])
    return said


def _read_frame(said: Said, marker: int, body: bytes) -> Said:
    bits, height, width, count = struct.unpack_from(">BHHB", body)
    parts = list(struct.iter_unpack("BBB", body[6:]))
    found = {number: _Component(hv >> 4, hv & 15, tq) for number, hv, tq in parts}
    sampled = all(1 <= c.h <= 4 and 1 <= c.v <= 4 for c in found.values())
    if said.process or not sampled or not 0 < len(found) == len(parts) == count:
        raise ValueError
    return said._replace(
        process=PROCESSES[marker], bits=bits, width=width, height=height, components=found
    )


def _read_tables(marker: int, body: bytes) -> set[int]:
    found, at = set(), 0
    while at < len(body):
        kind = body[at]
        if marker == DHT:
            found.add(kind)
            at += 17 + sum(body[at + 1 : at + 17])
        else:
            found.add(_QUANTISATION | kind & 15)
            at += 65 if kind < 16 else 129
    if at != len(body):
        raise ValueError
    return found


def _read_scan(said: Said, body: bytes) -> Said:
    if not said.process:
        raise Damaged("has no frame header")
    tables = dict(zip(body[1:-3:2], body[2:-3:2], strict=False))
    components = [said.components[number] for number in tables]
    if not components or not len(body) - 4 == 2 * body[0] == 2 * len(tables):
        raise ValueError
    if not _needed(said, tables, components, body[-3:]) <= said.tables:
        raise Damaged("lacks tables that it is coded by")
    return said._replace(shown=said.shown | tables.keys(), mcus=_count_mcus(said, components))


def _needed(
    said: Said, tables: Mapping[int, int], components: Sequence[_Component], range_: bytes
) -> set[int]:
    """Return the tables that a scan is coded by, as `Said` has them.

    A baseline picture without any for Huffman codes is coded by the standard's.
    """
    _, last, bits = range_
    quantisation = {_QUANTISATION | component.tq for component in components}
    dc = {table >> 4 for table in tables.values()}
    ac = {0x10 | table & 15 for table in tables.values()}
    match said.process:
        case "baseline" if all(table >= _QUANTISATION for table in said.tables):
            return quantisation
        case "baseline" | "extended":
            return quantisation | dc | ac
        case "progressive":
            return quantisation | (ac if last else set() if bits >> 4 else dc)
        case "lossless":
            return dc
    return set()


def _count_mcus(said: Said, components: Sequence[_Component]) -> int:
    """Return how many MCUs a scan of these components has."""
    unit = 1 if "lossless" in said.process else 8
    h_most = max(component.h for component in said.components.values())
    v_most = max(component.v for component in said.components.values())
    if len(components) > 1:
        return -(-said.width // (unit * h_most)) * -(-said.height // (unit * v_most))
    (only,) = components
    width, height = -(-said.width * only.h // h_most), -(-said.height * only.v // v_most)
    return -(-width // unit) * -(-height // unit)
