"""The newest of what comes, for a reader who may be slow.

gRPC would keep what is not read: some 64 KB of a stream, which of small frames are many, so that a
slow viewer would see what was seconds ago. So everything is read as it comes, and what the viewer
has not fetched yet makes way for what is newer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from contextlib import aclosing
from typing import Generic, TypeVar

T = TypeVar("T")

_CATCH_UP_S = 0.005
"""Within this time, an item that has come already is read."""


class Newest(AsyncIterator[tuple[T, int]], Generic[T]):
    """Gives of each kind of item the newest, with how many of that kind it has passed over.

    Items of different kinds stay in the order in which they came. Raises what `source` raises, once
    all before it is fetched. To be closed: it reads in a task of its own. (No generator, as the end
    of an event loop closes those in any order, also one that another is just closing.)
    """

    def __init__(self, source: AsyncGenerator[T, None], kind: Callable[[T], Hashable]) -> None:
        self._kind = kind
        self._items: dict[Hashable, tuple[T, int]] = {}
        self._came = 0
        self._changed = asyncio.Event()
        self._end: Exception | None = None
        self._reading = asyncio.create_task(self._read(source), name="read what comes")

    async def __anext__(self) -> tuple[T, int]:
        asked_at = time.monotonic()
        while not self._items:
            if self._end:
                raise self._end
            self._changed.clear()
            await self._changed.wait()
        if time.monotonic() - asked_at < _CATCH_UP_S:  # it was there already, so others may be
            await self._catch_up()
        return self._items.pop(next(iter(self._items)))

    async def aclose(self) -> None:
        """End the reading."""
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def _catch_up(self) -> None:
        """Read what came while the viewer's own work blocked the event loop."""
        came = -1
        while self._came != came:
            came = self._came
            await asyncio.sleep(_CATCH_UP_S)

    async def _read(self, source: AsyncGenerator[T, None]) -> None:
        try:
            async with aclosing(source):
                async for item in source:
                    self._put(item)
        except Exception as error:  # for the reader, not for a log
            self._end = error
            self._changed.set()

    def _put(self, item: T) -> None:
        kind = self._kind(item)
        passed_over = 0
        if kind in self._items:
            passed_over = 1 + self._items.pop(kind)[1]
        self._items[kind] = item, passed_over
        self._came += 1
        self._changed.set()
