"""Where the captures of a group wait for each other, each made ready for its trigger."""

import asyncio

from camsvc.camera.queue import Turn


class Meeting:
    """Holds back those who have come until all who are expected have, or have left.

    Nobody waits for longer than the others take to be made ready, or to fail once: who fails, or
    whose camera is away, leaves, and comes later on its own.
    """

    def __init__(self) -> None:
        self.bound_s = 0.0
        """The longest that waiting for all the others can take."""
        self._missing: set[Turn] = set()
        self._complete = asyncio.Event()

    def expect(self, turn: Turn, bound_s: float) -> None:
        """Add one to those who are waited for, and who may come after `bound_s` at the latest."""
        self._missing.add(turn)
        self.bound_s = max(self.bound_s, bound_s)

    def leave(self, turn: Turn) -> None:
        """Wait for one no more; without effect once it has come."""
        self._missing.discard(turn)
        if not self._missing:
            self._complete.set()

    async def reached(self, turn: Turn) -> None:
        """Come, and wait for the others."""
        self.leave(turn)
        await self._complete.wait()
