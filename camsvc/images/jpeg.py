"""The structure of a JPEG: whether its first picture is whole, how large it is, and of which kind.

A picture is walked from its first marker through every segment and scan to the first end marker
(EOI). What follows that does not count: a video, a preview, padding. Before it, everything but
stray bytes between segments has to be as ITU-T T.81 has it: each segment lies within the data; each
scan is of components that the frame has, by tables that are there; in a scan there are no markers
but its restart markers, and all of those. So a picture that was cut anywhere is refused, also where
another picture follows the cut, and one that lacks a restart interval.

The entropy-coded bytes themselves are not decoded. So the walk does not see that some were changed
or left out between two markers, nor a cut with other data behind it whose first marker happens to
be an end marker (one in 250, where those data are random). Decoders show such a picture with a
damaged part, and most say nothing.
"""

from typing import NamedTuple

from camsvc.images import scan, segments
from camsvc.images.segments import PROCESSES, SOS, Damaged, Said, Segment
from camsvc.model.errors import DriverError

_SOI, _EOI = 0xD8, 0xD9
_RESTARTS = bytes(range(0xD0, 0xD8))
_CUT = "ends in the middle"
_LATEST_BEGIN = 64
"""Farther behind may be the preview in a file of another kind."""


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
        return next(segment for segment in self.header if segment.marker in PROCESSES)


def begun(data: bytes) -> bytes:
    """Return data from a JPEG's first marker on, where that comes a few bytes late.

    Cameras send a line's end, a stray byte or a rest of a header before it.
    """
    at = data.find(b"\xff\xd8\xff", 0, _LATEST_BEGIN + 3)
    return data[at:] if at > 0 else data


def whole_size(data: bytes) -> tuple[int, int]:
    """Return width and height of a whole JPEG, as stored.

    Raises: as `read`.
    """
    found = read(data)
    return found.width_px, found.height_px


_latest: tuple[bytes, Jpeg] | None = None
"""The last one read. On its way through a worker a frame is asked about more than once."""


def read(data: bytes) -> Jpeg:
    """Walk through a JPEG, and return what it is.

    Raises:
        DriverError: it is not a JPEG, or not a whole one.
    """
    global _latest  # noqa: PLW0603 - a cache: hashing a picture's bytes costs more than the walk
    latest = _latest
    if latest is not None and latest[0] is data:
        return latest[1]
    if not data.startswith(b"\xff\xd8"):
        raise DriverError("corrupt picture: the camera's data is not a JPEG")
    try:
        found = _walk(data)
    except Damaged as why:
        text = f"corrupt picture: the JPEG of {len(data)} bytes {why}"
        raise DriverError(text) from None
    _latest = data, found
    return found


_latest_header: tuple[bytes, tuple[tuple[Segment, ...], int, Said]] = b"", ((), 0, Said())


def _walk(data: bytes) -> Jpeg:
    header, at, said = _read_header(data)
    part = header
    while part and part[-1].marker == SOS:
        begin = _pass_scan(data, at, said)
        part, at = _find_segments(data, begin)
        said = segments.read(said, data, begin)
    _require_end(data, at)
    if not said.width or not said.height:
        raise Damaged(f"has a size of {said.width} x {said.height}")
    if missing := said.components.keys() - said.shown:
        raise Damaged(f"lacks {len(missing)} of its {len(said.components)} components")
    count = len(said.components)
    return Jpeg(said.width, said.height, said.process, said.bits, count, header)


def _find_segments(data: bytes, at: int) -> tuple[tuple[Segment, ...], int]:
    """Return the segments from `at` on, and where they end."""
    found = tuple(segments.find(data, at))
    end = found[-1].end if found else at
    if end > len(data):
        raise Damaged(_CUT)
    return found, end


def _read_header(data: bytes) -> tuple[tuple[Segment, ...], int, Said]:
    """Return the segments of a header, where it ends, and what it says."""
    global _latest_header  # noqa: PLW0603 - those of a live view's frames are mostly the same
    latest, found = _latest_header
    if not latest or not data.startswith(latest):
        header, at = _find_segments(data, 2)
        found = header, at, segments.read(Said(), data[:at], 2)
        if header and header[-1].marker == SOS:  # else it goes on, in each its own way
            _latest_header = data[:at], found
    return found


def _pass_scan(data: bytes, at: int, said: Said) -> int:
    """Return where the marker is that ends a scan's bytes."""
    end, restarts = scan.end(data, at)
    if end < 0:
        raise Damaged(_CUT)
    count = (said.mcus - 1) // said.interval if said.interval else 0
    if len(restarts) == count + 1 and data[end - 2 : end] == b"\xff" + restarts[-1:]:
        count += 1  # Many encoders write one behind the last interval; no decoder minds.
    if said.height and restarts != (_RESTARTS * (count // 8 + 1))[:count]:
        raise Damaged(f"has {len(restarts)} restart markers in a scan, not {count} in order")
    return end


def _require_end(data: bytes, at: int) -> None:
    """Refuse a picture that does not end at `at`."""
    found = segments.MARKER.match(data, at)
    marker = found[1][0] if found else 0
    if marker == _EOI:
        return
    if marker == _SOI:
        raise Damaged(f"{_CUT}, where another one begins, at byte {at}")
    if not found or (0xFF00 | marker in segments.KNOWN and found.end() + 2 > len(data)):
        raise Damaged(_CUT)
    raise Damaged(f"is damaged at byte {at}")
