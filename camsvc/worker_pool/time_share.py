"""How much of the event loop's time one worker may take by what it sends."""

import asyncio
import time

from camsvc.system.event_loop import loop_time


class TimeShare:
    """Paces work that comes in pieces, each done without an await, as fast as somebody sends.

    After each piece all other tasks have their turn. So much time may be taken at once as takes
    `saved_s` to come back; who takes more has to wait, which the sender notices as a pipe that is
    full.
    """

    def __init__(self, share: float, saved_s: float = 1.0) -> None:
        """Allow a `share` of the time of a processor, from 0 to 1."""
        self._share = share
        self._saved_s = saved_s
        self._used_until = 0.0
        self._begun: float | None = None

    def begin(self) -> None:
        """Begin a piece."""
        self._begun = time.thread_time()

    async def next(self) -> None:
        """End the piece under way, if there is one, and wait for the next one's turn."""
        if self._begun is not None:
            took_s, self._begun = time.thread_time() - self._begun, None
            now = loop_time()
            self._used_until = max(now, self._used_until) + took_s / self._share
            await asyncio.sleep(max(0.0, self._used_until - now - self._saved_s))
