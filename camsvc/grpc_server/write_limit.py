"""How long a stream waits for a client that takes no message.

One timer for a stream, not one for each message: that would cost a tenth of what sending a live
frame costs.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

from camsvc.model.errors import QueueFull
from camsvc.model.retry_hint import VIEWER_LEAVES_S

_LOOKS = 4
"""In the time that a write may take; it is ended by so much of it later at most."""


@asynccontextmanager
async def write_limit(timeout_s: float | None) -> AsyncIterator[AbstractContextManager[None]]:
    """Give what a stream is to enter around each write, which may take `timeout_s`; None: for ever.

    Raises:
        QueueFull: a write took longer.
    """
    if timeout_s is None:
        yield nullcontext()
        return
    try:
        async with asyncio.timeout(None) as limit:
            writing = _Writing(limit, timeout_s)
            try:
                yield writing
            finally:
                writing.stop()
    except TimeoutError:
        raise QueueFull(
            f"the client has taken no message for {timeout_s:g} s, and its place is given to "
            "others; come back to go on",
            retry_after_s=VIEWER_LEAVES_S,
        ) from None


class _Writing(AbstractContextManager[None]):
    def __init__(self, limit: asyncio.Timeout, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._timeout_s = timeout_s
        self._since: float | None = None
        self._timer = self._next_look()

    def __enter__(self) -> None:
        self._since = self._loop.time()

    def __exit__(self, *_: object) -> None:
        self._since = None

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _next_look(self) -> asyncio.TimerHandle:
        return self._loop.call_later(self._timeout_s / _LOOKS, self._look)

    def _look(self) -> None:
        if self._since is not None and self._loop.time() >= self._since + self._timeout_s:
            self._limit.reschedule(self._since)
        else:
            self._timer = self._next_look()
