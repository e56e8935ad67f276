"""The control of timed promises: how late this machine is, measured while a test runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

_STEP_S = 0.01
_FACTOR = 10
"""A promise passes through several processes, each of which has to get its turn."""


class Machine:
    """By how much a timer was late, at most, since the test began."""

    def __init__(self) -> None:
        self.late_s = 0.0

    def within(self, promise_s: float) -> float:
        """Return how long a promise may take here: as promised, and what the machine adds."""
        return promise_s + _FACTOR * self.late_s

    async def measure(self) -> None:
        """Measure, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            await asyncio.sleep(_STEP_S)
            self.late_s = max(self.late_s, loop.time() - started - _STEP_S)


@contextlib.asynccontextmanager
async def measured() -> AsyncIterator[Machine]:
    """Measure while the block runs."""
    machine = Machine()
    measuring = asyncio.create_task(machine.measure())
    try:
        yield machine
    finally:
        measuring.cancel()
