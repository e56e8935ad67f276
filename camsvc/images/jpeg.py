"""The structure of a JPEG: whether its first picture is whole, how large it is, and of which kind.

A picture is walked from its first marker through every segment and scan to the first end marker
(EOI). What follows that does not count: a video, a preview, padding. Before it, everything has to
be as ITU-T T.81 has it: each segment lies within the data; each scan is of components that the
frame has, by tables that are there; in a scan there are no markers but its restart markers, and all
of those. So a picture that was cut anywhere is refused, also where another picture follows the cut,
and one that lacks a restart interval.

The entropy-coded bytes themselves are not decoded. So the walk does not see that some were changed
or left out between two markers, nor a cut with other data behind it whose first marker happens to
be an end marker (one in 250, where those data are random). Decoders show such a picture with a
damaged part, and most say nothing.
"""

import functools
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from camsvc.images import scan
from camsvc.model.errors import DriverError

APP0, APP1, APP2, SOS = 0xFFE0, 0xFFE1, 0xFFE2, 0xFFDA
DHT = 0xFFC4
_DAC, _DQT, _DNL, _DRI, _COM = 0xFFCC, 0xFFDB, 0xFFDC, 0xFFDD, 0xFFFE
_SOI, _EOI = 0xD8, 0xD9

_PROCESSES = {
    0xFFC0: "baseline",
    0xFFC1: "extended",
    0xFFC2: "progressive",
    0xFFC3: "lossless",
    0xFFC9: "arithmetic",
    0xFFCA: "arithmetic progressive",
    0xFFCB: "arithmetic lossless",
}
"""By the marker of the frame header; without the hierarchical ones, which nobody writes."""

_SEGMENTS = {*_PROCESSES, *range(APP0, APP0 + 16), SOS, DHT, _DAC, _DQT, _DNL, _DRI, _COM}

_MARKER = re.compile(rb"\xff+([^\xff\x00])")
"""With the fill bytes that may stand before it."""
_HEAD = struct.Struct(">HH")
"""A segment's marker and length."""
_RESTARTS = bytes(range(0xD0, 0xD8))

_QUANTISATION = 0x100
_CUT = "ends in the middle"


class Segment(NamedTuple):
    """Where a segment lies in the data: its marker's first byte, and the byte behind its end."""

    marker: int
    begin: int
    end: int


class Jpeg(NamedTuple):
    """A whole JPEG's first picture. Its size is that of the pixels as stored."""

    width_px: int
    height_px: int
    process: str
    bits: int
    """Of a sample."""
    components: int
    """1: grey; 3: colour; 4: CMYK or its like."""
    header: tuple[Segment, ...]
    """All segments up to the first scan's header, which is the last of them."""

    @property
    def frame(self) -> Segment:
        """The frame's header: its length, the bits of a sample, the height, the width ..."""
        return next(segment for segment in self.header if segment.marker in _PROCESSES)


def segments(data: bytes | memoryview, at: int = 2) -> Iterator[Segment]:
    """Yield the segments from `at` on, up to a scan's header or to what is no segment.

    A segment's end may lie behind that of the data.
    """
    marker = 0
    while marker != SOS and at + 4 <= len(data):
        marker, length = _HEAD.unpack_from(data, at)
        if marker == 0xFFFF and (found := _MARKER.match(data, at)) and found.end() + 2 <= len(data):
            at = found.end() - 2
            marker, length = _HEAD.unpack_from(data, at)
        if marker not in _SEGMENTS or length < 2:
            return
        begin, at = at, at + 2 + length
        yield Segment(marker, begin, at)


def whole_size(data: bytes) -> tuple[int, int]:
    """Return width and height of a whole JPEG, as stored.

    Raises: as `read`.
    """
    found = read(data)
    return found.width_px, found.height_px


def read(data: bytes) -> Jpeg:
    """Walk through a JPEG, and return what it is.

    Raises:
        DriverError: it is not a JPEG, or not a whole one.
    """
    if not data.startswith(b"\xff\xd8"):
        raise DriverError("corrupt picture: the camera's data is not a JPEG")
    try:
        return _walk(data)
    except _Damaged as why:
        text = f"corrupt picture: the JPEG of {len(data)} bytes {why}"
        raise DriverError(text) from None


class _Damaged(Exception):
    """Says what is wrong, as the end of a sentence."""


class _Component(NamedTuple):
    """A component of the frame: its sampling and its table, by the standard's names."""

    h: int
    v: int
    tq: int


class _Said(NamedTuple):
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


def _walk(data: bytes) -> Jpeg:
    header, at = _find_segments(data, 2)
    said, part = _read_header(data[:at]), header
    while part and part[-1].marker == SOS:
        begin = _pass_scan(data, at, said)
        part, at = _find_segments(data, begin)
        said = _read_segments(said, data[:at], begin)
    _require_end(data, at)
    if not said.width or not said.height:
        raise _Damaged(f"has a size of {said.width} x {said.height}")
    if missing := said.components.keys() - said.shown:
        raise _Damaged(f"lacks {len(missing)} of its {len(said.components)} components")
    count = len(said.components)
    return Jpeg(said.width, said.height, said.process, said.bits, count, header)


def _find_segments(data: bytes, at: int) -> tuple[tuple[Segment, ...], int]:
    """Return the segments from `at` on, and where they end."""
    found = tuple(segments(data, at))
    end = found[-1].end if found else at
    if end > len(data):
        raise _Damaged(_CUT)
    return found, end


@functools.lru_cache(maxsize=4)
def _read_header(header: bytes) -> _Said:
    """Return what a header says. Those of a live view's frames are all the same."""
    return _read_segments(_Said(), header, 2)


def _read_segments(said: _Said, data: bytes, at: int) -> _Said:
    """Return what has been said after the segments from `at` on."""
    for segment in segments(data, at):
        body = data[segment.begin + 4 : segment.end]
        try:
            said = _read_segment(said, segment.marker, body)
        except (struct.error, LookupError, ValueError):
            raise _Damaged(f"is damaged in the segment at byte {segment.begin}") from None
    return said


def _read_segment(said: _Said, marker: int, body: bytes) -> _Said:
    """Return what has been said after one more segment.

    Raises:
        struct.error, LookupError, ValueError: it is not as one of its kind has to be.
    """
    if marker in _PROCESSES:
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


def _read_frame(said: _Said, marker: int, body: bytes) -> _Said:
    bits, height, width, count = struct.unpack_from(">BHHB", body)
    parts = list(struct.iter_unpack("BBB", body[6:]))
    found = {number: _Component(hv >> 4, hv & 15, tq) for number, hv, tq in parts}
    sampled = all(1 <= c.h <= 4 and 1 <= c.v <= 4 for c in found.values())
    if said.process or not sampled or not 0 < len(found) == len(parts) == count:
        raise ValueError
    return said._replace(
        process=_PROCESSES[marker], bits=bits, width=width, height=height, components=found
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


def _read_scan(said: _Said, body: bytes) -> _Said:
    if not said.process:
        raise _Damaged("has no frame header")
    tables = dict(zip(body[1:-3:2], body[2:-3:2], strict=False))
    components = [said.components[number] for number in tables]
    if not components or not len(body) - 4 == 2 * body[0] == 2 * len(tables):
        raise ValueError
    if not _needed(said, tables, components, body[-3:]) <= said.tables:
        raise _Damaged("lacks tables that it is coded by")
    return said._replace(shown=said.shown | tables.keys(), mcus=_count_mcus(said, components))


def _needed(
    said: _Said, tables: Mapping[int, int], components: Sequence[_Component], range_: bytes
) -> set[int]:
    """Return the tables that a scan is coded by, as `_Said` has them.

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


def _count_mcus(said: _Said, components: Sequence[_Component]) -> int:
    """Return how many MCUs a scan of these components has."""
    unit = 1 if "lossless" in said.process else 8
    h_most = max(component.h for component in said.components.values())
    v_most = max(component.v for component in said.components.values())
    if len(components) > 1:
        return -(-said.width // (unit * h_most)) * -(-said.height // (unit * v_most))
    (only,) = components
    width, height = -(-said.width * only.h // h_most), -(-said.height * only.v // v_most)
    return -(-width // unit) * -(-height // unit)


def _pass_scan(data: bytes, at: int, said: _Said) -> int:
    """Return where the marker is that ends a scan's bytes."""
    end, restarts = scan.end(data, at)
    if end < 0:
        raise _Damaged(_CUT)
    count = (said.mcus - 1) // said.interval if said.interval else 0
    if len(restarts) == count + 1 and data[end - 2 : end] == b"\xff" + restarts[-1:]:
        count += 1  # Many encoders write one behind the last interval; no decoder minds.
    if said.height and restarts != (_RESTARTS * (count // 8 + 1))[:count]:
        raise _Damaged(f"has {len(restarts)} restart markers in a scan, not {count} in order")
    return end


def _require_end(data: bytes, at: int) -> None:
    """Refuse a picture that does not end at `at`."""
    found = _MARKER.match(data, at)
    marker = found[1][0] if found else 0
    if marker == _EOI:
        return
    if marker == _SOI:
        raise _Damaged(f"{_CUT}, where another one begins, at byte {at}")
    if not found or (0xFF00 | marker in _SEGMENTS and found.end() + 2 > len(data)):
        raise _Damaged(_CUT)
    raise _Damaged(f"is damaged at byte {at}")
