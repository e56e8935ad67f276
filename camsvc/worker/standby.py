"""Warm workers: imports done, no device touched, ready to take a lost one's place."""

import asyncio
import contextlib
from collections import deque

from camsvc.errors import CameraLost
from camsvc.worker.parent import Launch, Worker

_STARTS_AT_ONCE = 4
"""Importing OpenCV takes a core for a tenth of a second: many at once would starve the loop."""

_REPLENISH_DELAY_S = 0.5
"""The next warm worker starts when the one just taken should have opened its device: a client is
waiting for that one."""


class StandbyPool:
    """Hands out started workers, and keeps one warm for each launch that was ever asked for."""

    def __init__(self) -> None:
        self._warm: dict[Launch, deque[Worker]] = {}
        self._warming: dict[Launch, asyncio.Task[None]] = {}
        self._starts = asyncio.Semaphore(_STARTS_AT_ONCE)

    def warm(self, launch: Launch) -> None:
        """Begin starting a worker that will be wanted."""
        self._replenish(launch, delay_s=0)

    async def take(self, launch: Launch) -> Worker:
        """Return a worker: the warm one when there is one, else a new one.

        Raises:
            WorkerLost: it could not be started.
        """
        try:
            warm = self._warm.setdefault(launch, deque())
            while warm:
                if (worker := warm.popleft()).alive:
                    return worker
            async with self._starts:
                return await Worker.start(launch)
        finally:
            self._replenish(launch, _REPLENISH_DELAY_S)

    def _replenish(self, launch: Launch, delay_s: float) -> None:
        running = self._warming.get(launch)
        if not self._warm.setdefault(launch, deque()) and (running is None or running.done()):
            task = asyncio.create_task(
                self._warm_up(launch, delay_s), name=f"standby {launch.driver}"
            )
            self._warming[launch] = task

    async def _warm_up(self, launch: Launch, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        with contextlib.suppress(CameraLost):  # whoever needs a worker next is told
            async with self._starts:
                worker = await Worker.start(launch)
            self._warm[launch].append(worker)

    async def close(self) -> None:
        """Stop warming and end every warm worker."""
        tasks = list(self._warming.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        workers = [worker for warm in self._warm.values() for worker in warm]
        for worker in workers:
            worker.kill("the service ends")
        await asyncio.gather(*(worker.ended for worker in workers), return_exceptions=True)
        self._warm.clear()
