"""Places that callers share: all are one caller's until others want some."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from camsvc.model.caller import Caller, gives_way
from camsvc.model.errors import QueueFull
from camsvc.model.retry_hint import PLACE_FREED_S


class Places:
    """A number of places, each held by a task for as long as it does something.

    When all are taken, whoever has most of them loses its newest to a caller that has fewer.
    """

    def __init__(self, limit: int, what: str, setting: str) -> None:
        """Share `limit` places; `what` is done there, and the `setting` is what limits it."""
        self._limit = limit
        self._why_full = f"{limit} {what}, which is the service's {setting}"
        self._held: dict[asyncio.Timeout, Caller] = {}
        """In the order in which they were taken."""

    @contextlib.asynccontextmanager
    async def place(self, caller: Caller) -> AsyncIterator[None]:
        """Hold a place while the body runs, which ends early where another caller is given it.

        Raises:
            QueueFull: there is no place, or it is another caller's now.
        """
        self._make_room(caller)
        try:
            async with asyncio.timeout(None) as held:
                self._held[held] = caller
                try:
                    yield
                finally:
                    self._held.pop(held, None)
        except TimeoutError:
            if not held.expired():
                raise
            raise self._full("most were of one caller, whose newest was given to another") from None

    def _make_room(self, newcomer: Caller) -> None:
        if len(self._held) < self._limit:
            return
        newest = gives_way(self._held, newcomer)
        if newest is None:
            raise self._full("come back when one has ended")
        del self._held[newest]
        newest.reschedule(0)  # which is over: it ends in the next step of the event loop

    def _full(self, more: str) -> QueueFull:
        return QueueFull(
            f"{self._why_full}; {more}",
            retry_after_s=PLACE_FREED_S,
            metadata={"limit": str(self._limit)},
        )
