"""Where the captures of a group wait for each other, each prepared for its trigger."""

import asyncio

from camsvc.camera.queue import Ticket


class Barrier:
    """Holds back those that have arrived until all that were added have, or have withdrawn.

    Nobody waits for longer than the others take to be prepared, or to fail once: a capture that
    fails, or whose camera does not come back soon, withdraws and is taken later on its own.
    """

    def __init__(self) -> None:
        self.longest_wait_s = 0.0
        """The longest that waiting for all the others can take."""
        self._missing: set[Ticket] = set()
        self._complete = asyncio.Event()

    def add(self, ticket: Ticket, bound_s: float) -> None:
        """Wait for one more, which arrives or withdraws within `bound_s`."""
        self._missing.add(ticket)
        self.longest_wait_s = max(self.longest_wait_s, bound_s)

    def withdraw(self, ticket: Ticket) -> None:
        """Wait for one no longer; without effect once it has arrived."""
        self._missing.discard(ticket)
        if not self._missing:
            self._complete.set()

    async def arrive(self, ticket: Ticket) -> None:
        """Arrive, and wait for the others."""
        self.withdraw(ticket)
        await self._complete.wait()
