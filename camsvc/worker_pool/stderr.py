"""What a worker's process writes to stderr: the libraries' messages and crash dumps."""

import asyncio
from collections.abc import AsyncIterator

from camsvc.worker_pool.time_share import TimeShare

KEPT_LINES = 60
"""Enough for the stacks of all threads of a process."""

LINE_BYTES = 1000
"""A longer line is read in pieces."""

_SHARE = 0.05
"""Of the event loop's time. Who writes more has to wait."""

MAX_LOGGED_PER_S = 100


async def lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yield each line, until the stream ends; of a long one, its pieces.

    The stream's limit is to be `LINE_BYTES`.
    """
    share = TimeShare(_SHARE)
    while True:
        await share.next()
        try:
            line = await stream.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            line = error.partial
        except asyncio.LimitOverrunError:
            line = await stream.read(LINE_BYTES)
        if not line:
            return
        share.begin()
        yield line.decode(errors="replace").rstrip()


class LinesPerSecond:
    """Counts lines, from 1 on again with each second."""

    def __init__(self) -> None:
        self._second = self._count = 0

    def count(self, now_s: float) -> int:
        """Count a line; return which of its second it is."""
        if self._second != int(now_s):
            self._second, self._count = int(now_s), 0
        self._count += 1
        return self._count
