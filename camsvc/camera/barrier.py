"""Where the captures of a group wait for each other, each prepared for its trigger."""

import asyncio

from camsvc.camera.deadline import Deadline
from camsvc.camera.queue import Ticket


class Barrier:
    """Holds back those that have arrived until all that were added have, or have withdrawn.

    Nobody waits for longer than the others take to be prepared, or to fail once: a capture that
    fails, or whose camera does not come back soon, withdraws and is taken later on its own.
    """

    def __init__(self) -> None:
        self._deadlines: dict[Ticket, Deadline] = {}
        self._missing: set[Ticket] = set()
        self._complete = asyncio.Event()

    def add(self, ticket: Ticket, deadline: Deadline) -> None:
        """Wait for one more, which arrives or withdraws by its deadline, once it has its turn."""
        self._missing.add(ticket)
        self._deadlines[ticket] = deadline

    @property
    def longest_wait_s(self) -> float:
        """The longest that waiting for all the others can take."""
        bounds = (d.behind(ticket.taken_before).limit_s for ticket, d in self._deadlines.items())
        return max(bounds, default=0.0)

    def withdraw(self, ticket: Ticket) -> None:
        """Wait for one no longer; without effect once it has arrived."""
        self._missing.discard(ticket)
        if not self._missing:
            self._complete.set()

    def waits_without(self, ticket: Ticket) -> bool:
        """Whether others than this are still missing."""
        return not self._missing <= {ticket}

    async def arrive(self, ticket: Ticket) -> None:
        """Arrive, and wait for the others."""
        self.withdraw(ticket)
        await self._complete.wait()
