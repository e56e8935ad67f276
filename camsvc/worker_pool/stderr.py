"""What a worker's process writes to stderr: the libraries' messages and crash dumps."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from camsvc.worker_pool.pipe import Stream

_KEPT_LINES = 60
"""Enough for the stacks of all threads of a process."""


class StderrTail:
    """Keeps the last lines."""

    def __init__(self, stream: Stream) -> None:
        self._reader, self._writer = stream
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)

    @property
    def text(self) -> str:
        """The last lines; empty when there was none."""
        return "\n".join(self._lines)

    async def lines(self) -> AsyncIterator[str]:
        """Yield each line, until the stream ends."""
        while line := await self._read_line():
            self._lines.append(line.decode(errors="replace").rstrip())
            yield self._lines[-1]

    def close(self) -> None:
        """Close this end."""
        self._writer.close()

    async def _read_line(self) -> bytes:
        """Return the next line; of an endless one, its pieces."""
        try:
            return await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            return error.partial
        except asyncio.LimitOverrunError as error:
            return await self._reader.read(error.consumed)
