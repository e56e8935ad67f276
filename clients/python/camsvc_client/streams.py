"""The iterator from which streams are read; it can be closed at any time."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Generic, Self, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Mark(enum.Enum):
    """What a source yields in addition to its items."""

    READY = enum.auto()
    """The service has begun: nothing is missed from here on."""
    END = enum.auto()
    """Nothing more will come."""


class Stream(AsyncIterator[T_co], Generic[T_co]):
    """Items as they come. Ends when closed; `async with` closes it, and so does its last reference.

    Entering `async with` waits until the service has begun to send, so that nothing is missed of
    what happens inside. `close`, from any task, ends the iteration of one that waits for an item.

    Example:
        async with client.capture_events("sim0") as events:
            await client.capture("sim0")
            async for event in events:
                if event.HasField("capture"):
                    break
    """

    def __init__(self, source: AsyncGenerator[T_co | Mark, None]) -> None:
        self._source = source
        self._held: deque[T_co] = deque()
        self._begun = False
        self._closed = False
        self._closing = asyncio.Lock()
        self._waiting = False
        self._next: asyncio.Task[T_co | Mark] | None = None

    async def __anext__(self) -> T_co:
        while not self._held:
            item = await self._item()
            if not isinstance(item, Mark):
                return item
        return self._held.popleft()

    async def __aenter__(self) -> Self:
        while not self._begun:
            item = await self._item()
            if not isinstance(item, Mark):
                self._held.append(item)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the stream and its call. May be called more than once."""
        self._closed = True
        async with self._closing:
            if self._next:
                self._next.cancel()
                await asyncio.wait([self._next])
            await self._source.aclose()

    def __del__(self) -> None:
        reading = self._next
        if reading and not reading.done():  # a reader stopped waiting for it
            with suppress(RuntimeError):  # the event loop has ended, and the reading with it
                reading.get_loop().call_soon_threadsafe(reading.cancel)

    async def _item(self) -> T_co | Mark:
        if self._closed:
            raise StopAsyncIteration
        if self._waiting:
            raise RuntimeError("another task waits for this stream's next item already")
        if self._next is None:
            self._next = asyncio.create_task(_anext(self._source), name="next item")
            self._next.add_done_callback(_retrieved)
        self._waiting = True
        try:
            # A reader may stop waiting, as by `asyncio.timeout`: the next one gets the item.
            item = await asyncio.shield(self._next)
        except asyncio.CancelledError:
            if self._closed_while_waiting():
                raise StopAsyncIteration from None
            raise
        except BaseException:
            self._next = None
            raise
        finally:
            self._waiting = False
        self._next = None
        if item is Mark.END:
            raise StopAsyncIteration
        self._begun |= item is Mark.READY
        return item

    def _closed_while_waiting(self) -> bool:
        """Whether the stream was closed, rather than its reader cancelled."""
        task = asyncio.current_task()
        return self._closed and not (task and task.cancelling())


def _retrieved(reading: asyncio.Task[T]) -> None:
    """Retrieve an error, so that asyncio does not log that nobody did."""
    if not reading.cancelled():
        reading.exception()


async def _anext(source: AsyncGenerator[T_co | Mark, None]) -> T_co | Mark:
    return await anext(source, Mark.END)  # a task cannot end with StopAsyncIteration
