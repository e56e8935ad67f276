"""What a worker's process writes to stderr: the libraries' messages and crash dumps."""

import asyncio
from collections.abc import AsyncIterator

KEPT_LINES = 60
"""Enough for the stacks of all threads of a process."""


async def lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yield each line, until the stream ends; of an endless one, its pieces."""
    while True:
        try:
            line = await stream.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            line = error.partial
        except asyncio.LimitOverrunError as error:
            line = await stream.read(error.consumed)
        if not line:
            return
        yield line.decode(errors="replace").rstrip()
