"""The parts of a multipart answer (MJPEG over HTTP), from bytes as they arrive.

Cameras write it in many ways: without a length or with a wrong one, with a boundary that their
header has not or has otherwise, with bare line feeds. So the first line of the answer is the
boundary, whatever the header says; a part ends at the next one, or as soon as a whole picture is
there: the boundary that ends it may come with the next picture only.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from camsvc.images import jpeg
from camsvc.model.errors import DriverError

MAX_PART_BYTES = 64 << 20
_MAX_HEAD_BYTES = 64 << 10
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_END_OF_PICTURE = b"\xff\xd9"
_START_OF_PICTURE = b"\xff\xd8"
_BETWEEN = b"\r\n-"
"""What is between a picture's end and the boundary's name."""


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of one part, and when the first of them arrived, in ns of the monotonic clock."""

    begun_ns: int
    data: bytes


class Multipart:
    """Cuts what arrives into parts. `boundary` is what the answer's header says, if anything.

    Parts of text, which report events, and empty ones are left out.
    """

    def __init__(self, boundary: str = "") -> None:
        self._declared = boundary.strip('" ').lstrip("-").encode("latin-1", "replace")
        self._boundary = b""
        self._buffer = bytearray()
        self._searched = 0
        """So much of the buffer has no boundary in it."""
        self._in_body = False
        self._begun_ns: int | None = None
        self._length = 0
        self._is_done = False
        """The part at hand was given already; what is left of it is dropped."""

    def feed(self, data: bytes, arrived_ns: int) -> Iterator[Part]:
        """Take what has arrived; yield the parts whose end is known now.

        Raises:
            DriverError: it is too large, or no multipart answer.
        """
        self._buffer += data
        while True:
            if not self._in_body and not self._skip_head():
                return
            if self._buffer and self._begun_ns is None:
                self._begun_ns = arrived_ns
            end, after = self._find_boundary()
            if end is None:
                if (part := self._whole_picture()) is not None:
                    yield part
                return
            if (part := self._part(bytes(self._buffer[:end]))) is not None:
                yield part
            del self._buffer[:after]
            self._in_body, self._searched = False, 0

    def _skip_head(self) -> bool:
        """Drop boundary and headers in front of a part's bytes; return whether all were there."""
        if not self._boundary:
            start = len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))
            del self._buffer[:start]
            line, newline, _ = self._buffer.partition(b"\n")
            if not newline:
                return self._wait_for_head()
            name = bytes(line.strip().lstrip(b"-"))
            if line.startswith(b"--") or (name and name == self._declared):
                self._boundary = (b"--" if line.startswith(b"--") else b"") + name
                del self._buffer[: len(line) + 1]
            elif self._declared:
                self._boundary = b"--" + self._declared
            else:
                raise DriverError("the camera's multipart answer does not begin with a boundary")
        if self._buffer.startswith(_START_OF_PICTURE):
            head, end = b"", 0
        elif self._buffer[:1] == b"\n" or self._buffer[:2] == b"\r\n":
            head, end = b"", self._buffer.index(b"\n") + 1
        elif found := _BLANK_LINE.search(self._buffer, 0, _MAX_HEAD_BYTES):
            head, end = bytes(self._buffer[: found.start()]), found.end()
        else:
            return self._wait_for_head()
        length = re.search(rb"(?im)^content-length\s*:\s*(\d{1,12})\s*$", head)
        self._length = int(length[1]) if length else 0
        del self._buffer[:end]
        self._in_body, self._begun_ns, self._is_done, self._searched = True, None, False, 0
        return True

    def _wait_for_head(self) -> bool:
        if len(self._buffer) > _MAX_HEAD_BYTES:
            raise DriverError("the camera's multipart answer has no end of a part's headers")
        return False

    def _find_boundary(self) -> tuple[int | None, int]:
        """Return where the part's bytes end and where the next part's headers begin, if known."""
        name, at = self._boundary, max(0, self._searched - len(self._boundary))
        while (at := self._buffer.find(name, at)) >= 0:
            end = at
            while end and self._buffer[end - 1 : end] == b"-":
                end -= 1
            line_end = self._buffer.find(b"\n", at + len(name))
            if end == 0 or self._buffer.endswith((b"\n", _END_OF_PICTURE), 0, end):
                if line_end < 0:
                    break  # the rest of the boundary's line has yet to come
                end -= self._buffer.endswith(b"\n", 0, end)
                end -= self._buffer.endswith(b"\r", 0, end)
                return end, line_end + 1
            at += 1
        if not self._is_done and len(self._buffer) > MAX_PART_BYTES:
            raise DriverError(f"the camera sent over {MAX_PART_BYTES >> 20} MiB as one picture")
        if at < 0:
            self._searched = len(self._buffer)
        if self._is_done:
            kept = 2 * len(name) + 8  # the boundary's begin may be at the end
            del self._buffer[:-kept]
            self._searched = 0
        return None, 0

    def _whole_picture(self) -> Part | None:
        """Return the part whose boundary has not come yet, where its picture is whole."""
        if self._is_done or not self._buffer.startswith(_START_OF_PICTURE):
            return None
        candidates = []
        if 0 < self._length <= len(self._buffer):
            candidates.append(bytes(self._buffer[: self._length]))
            self._length = 0
        if bytes(self._buffer[-8:]).rstrip(_BETWEEN).endswith(_END_OF_PICTURE):
            candidates.append(bytes(self._buffer).rstrip(_BETWEEN))
        for found in candidates:
            with contextlib.suppress(DriverError):  # it goes on, or is cut: the boundary will tell
                jpeg.whole_size(found)
                return self._part(found)
        return None

    def _part(self, data: bytes) -> Part | None:
        begun_ns, is_done, self._is_done = self._begun_ns, self._is_done, True
        is_text = data[:256].isascii() and b"\x00" not in data[:256]  # events, or nothing
        return None if is_done or begun_ns is None or is_text else Part(begun_ns, data)
