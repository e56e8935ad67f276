"""Openings and recoveries of a camera: at most one at a time may change its state."""

import asyncio
from collections.abc import Awaitable, Callable


class Revivals:
    """Runs one revival after the other.

    One that is replaced is cancelled in the same step, so that nothing of it comes after what
    replaces it; the next one begins when it has ended.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        """The one under way, and those it replaces for as long as they take to end."""

    def cancel(self) -> None:
        """Cancel what is under way, each task once, as it may be cleaning up."""
        for task in self._tasks:
            if not task.cancelling():
                task.cancel()

    def start(self, name: str, revive: Callable[[], Awaitable[None]]) -> None:
        """Begin a revival, once those that were cancelled have ended."""
        cancelled = set(self._tasks)

        async def run() -> None:
            if cancelled:
                await asyncio.wait(cancelled)
            await revive()

        task = asyncio.create_task(run(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel everything, and wait until it has ended."""
        self.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
