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

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

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
_MARKER_IN_SCAN = re.compile(rb"\xff([^\x00\xff])")
"""Where 0xFF is a picture's own byte, 0 follows it."""
_RESTARTS = bytes(range(0xD0, 0xD8))

_QUANTISATION = 0x100


class Segment(NamedTuple):
    """Where a segment lies in the data: its marker's first byte, and the byte behind its end."""

    marker: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Jpeg:
    """A whole JPEG's first picture. Its size is that of the pixels as stored."""

    width_px: int
    height_px: int
    process: str
    bits: int
    """Of a sample."""
    components: int
    """1: grey; 3: colour; 4: CMYK or its like."""
    frame: Segment
    """Its header: the length, the bits, the height, the width ..."""
    header: tuple[Segment, ...]
    """All segments up to the first scan's header, which is the last of them."""


def segments(data: bytes | memoryview, at: int = 2) -> Iterator[Segment]:
    """Yield the segments from `at` on, up to a scan's header or to what is no segment.

    A segment's end may lie behind that of the data.
    """
    marker = 0
    while marker != SOS and (found := _MARKER.match(data, at)):
        begin, marker = found.end() - 2, 0xFF00 | found[1][0]
        if marker not in _SEGMENTS or begin + 4 > len(data):
            return
        (length,) = struct.unpack_from(">H", data, begin + 2)
        if length < 2:
            return
        at = begin + 2 + length
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
    return _Walk(data).jpeg()


class _Component(NamedTuple):
    """A component of the frame: its sampling and its table, by the standard's names."""

    h: int
    v: int
    tq: int


class _Damaged(Exception):
    """A segment does not say what one of its kind has to."""


class _Walk:
    """One walk, with what the segments have said so far."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._process, self._bits, self._width, self._height = "", 0, 0, 0
        self._components: dict[int, _Component] = {}
        self._shown: set[int] = set()
        """Components of which there was a scan."""
        self._tables: set[int] = set()
        """Of Huffman codes by class and number; of quantisation, from `_QUANTISATION` on."""
        self._interval = 0
        """MCUs between two restart markers; 0: there are none."""
        self._mcus = 0
        """Of the last scan."""

    def jpeg(self) -> Jpeg:
        """Walk to the end."""
        at, seen, scan = 2, list[Segment](), 0
        while segment := next(segments(self._data, at), None):
            at = segment.end
            if at > len(self._data):
                self._refuse("ends in the middle")
            seen.append(segment)
            try:
                self._take(segment.marker, self._data[segment.begin + 4 : at])
            except (_Damaged, struct.error, LookupError):
                self._refuse(f"is damaged in the segment at byte {segment.begin}")
            if segment.marker == SOS:
                scan = scan or len(seen)
                at = self._scan_end(at)
        self._require_end(at)
        if not self._width or not self._height:
            self._refuse(f"has a size of {self._width} x {self._height}")
        if missing := self._components.keys() - self._shown:
            self._refuse(f"lacks {len(missing)} of its {len(self._components)} components")
        size, count = (self._width, self._height), len(self._components)
        frame = next(part for part in seen if part.marker in _PROCESSES)
        return Jpeg(*size, self._process, self._bits, count, frame, tuple(seen[:scan]))

    def _take(self, marker: int, body: bytes) -> None:
        """Remember what a segment says.

        Raises:
            _Damaged, struct.error, LookupError: that is not what one of its kind has to.
        """
        if marker in _PROCESSES:
            self._take_frame(marker, body)
        elif marker == SOS:
            self._take_scan(body)
        elif marker in (DHT, _DQT):
            self._take_tables(marker, body)
        elif marker == _DRI:
            (self._interval,) = struct.unpack(">H", body)
        elif marker == _DNL:
            self._height = self._height or struct.unpack(">H", body)[0]

    def _take_frame(self, marker: int, body: bytes) -> None:
        self._bits, self._height, self._width, count = struct.unpack_from(">BHHB", body)
        parts = list(struct.iter_unpack("BBB", body[6:]))
        found = {number: _Component(hv >> 4, hv & 15, tq) for number, hv, tq in parts}
        sampled = all(1 <= c.h <= 4 and 1 <= c.v <= 4 for c in found.values())
        if self._process or not sampled or not 0 < len(found) == len(parts) == count:
            raise _Damaged
        self._process, self._components = _PROCESSES[marker], found

    def _take_tables(self, marker: int, body: bytes) -> None:
        at = 0
        while at < len(body):
            kind = body[at]
            if marker == DHT:
                self._tables.add(kind)
                at += 17 + sum(body[at + 1 : at + 17])
            else:
                self._tables.add(_QUANTISATION | kind & 15)
                at += 65 if kind < 16 else 129
        if at != len(body):
            raise _Damaged

    def _take_scan(self, body: bytes) -> None:
        if not self._process:
            self._refuse("has no frame header")
        tables = dict(zip(body[1:-3:2], body[2:-3:2], strict=False))
        components = [self._components[number] for number in tables]
        if not components or not len(body) - 4 == 2 * body[0] == 2 * len(tables):
            raise _Damaged
        if not self._needed(tables, components, body[-3:]) <= self._tables:
            self._refuse("lacks tables that it is coded by")
        self._shown |= tables.keys()
        self._mcus = self._count_mcus(components)

    def _needed(
        self, tables: Mapping[int, int], components: Sequence[_Component], scan: bytes
    ) -> set[int]:
        """Return the tables that a scan is coded by, as `_tables` has them.

        A baseline picture without any for Huffman codes is coded by the standard's.
        """
        _, last, bits = scan
        quantisation = {_QUANTISATION | component.tq for component in components}
        dc = {table >> 4 for table in tables.values()}
        ac = {0x10 | table & 15 for table in tables.values()}
        match self._process:
            case "baseline" if all(table >= _QUANTISATION for table in self._tables):
                return quantisation
            case "baseline" | "extended":
                return quantisation | dc | ac
            case "progressive":
                return quantisation | (ac if last else set() if bits >> 4 else dc)
            case "lossless":
                return dc
        return set()

    def _count_mcus(self, components: Sequence[_Component]) -> int:
        """Return how many MCUs a scan of these components has."""
        unit = 1 if "lossless" in self._process else 8
        h_most = max(component.h for component in self._components.values())
        v_most = max(component.v for component in self._components.values())
        if len(components) > 1:
            return -(-self._width // (unit * h_most)) * -(-self._height // (unit * v_most))
        (only,) = components
        width, height = -(-self._width * only.h // h_most), -(-self._height * only.v // v_most)
        return -(-width // unit) * -(-height // unit)

    def _scan_end(self, at: int) -> int:
        """Return where the marker is that ends a scan's bytes."""
        restarts = bytearray()
        for found in _MARKER_IN_SCAN.finditer(self._data, at):
            if not 0xD0 <= found[1][0] <= 0xD7:
                break
            restarts += found[1]
            at = found.end()
        else:
            self._refuse("ends in the middle")
        count = (self._mcus - 1) // self._interval if self._interval else 0
        if at == found.start() and len(restarts) == count + 1:
            count += 1  # Many encoders write one behind the last interval; no decoder minds.
        if self._height and restarts != (_RESTARTS * (count // 8 + 1))[:count]:
            self._refuse(f"has {len(restarts)} restart markers in a scan, not {count} in order")
        return found.start()

    def _require_end(self, at: int) -> None:
        """Go on only where the picture ends."""
        found = _MARKER.match(self._data, at)
        marker = found[1][0] if found else 0
        if marker == _EOI:
            return
        if marker == _SOI:
            self._refuse(f"ends in the middle, where another one begins, at byte {at}")
        if not found or (0xFF00 | marker in _SEGMENTS and found.end() + 2 > len(self._data)):
            self._refuse("ends in the middle")
        self._refuse(f"is damaged at byte {at}")

    def _refuse(self, why: str) -> NoReturn:
        raise DriverError(f"corrupt picture: the JPEG of {len(self._data)} bytes {why}")
