"""Warm workers: imports done, no device touched, ready to take a lost one's place."""

import asyncio
import contextlib
import os
from collections import deque

import structlog

from camsvc.model.errors import CameraLost
from camsvc.model.options import Launch
from camsvc.worker_pool.process import LIVENESS_INTERVAL_S, WorkerProcess

_log = structlog.get_logger()

STARTS_AT_ONCE = min(4, max(1, (os.cpu_count() or 1) - 1))
"""Importing OpenCV takes a core for a tenth of a second: one core is left to the loop, whose
answers would else wait for 50 ms and more."""

START_S = 2.0
"""A start that takes longer hangs in the import of a library, and counts no more against others."""

RETRY_S = 5.0
"""When a warm-up is tried again that failed by an error of the service's own."""

_WARM_UP_S = 60.0
"""How long a warm worker may take to start before it is given up."""

_END_S = 5.0
"""How long ending workers are waited for: one in a kernel call may never go."""

_REPLENISH_DELAY_S = 0.5
"""The next warm worker starts when the one just taken should have opened its device: a client is
waiting for that one."""


class WorkerPool:
    """Hands out started workers, and keeps one warm for each launch that was ever asked for."""

    def __init__(
        self,
        *,
        starts_at_once: int = STARTS_AT_ONCE,
        start_s: float = START_S,
        retry_s: float = RETRY_S,
        liveness_interval_s: float = LIVENESS_INTERVAL_S,
    ) -> None:
        self._retry_s = retry_s
        self._start_s = start_s
        self._liveness_interval_s = liveness_interval_s
        self._warm: dict[Launch, deque[WorkerProcess]] = {}
        self._warming: dict[Launch, asyncio.Task[None]] = {}
        self._starts = asyncio.Semaphore(starts_at_once)

    def has_warm(self, launch: Launch) -> bool:
        """Whether a warm worker waits to be taken."""
        return any(worker.alive for worker in self._warm.get(launch, ()))

    def warm(self, launch: Launch, delay_s: float = 0.0) -> None:
        """Begin starting a worker that will be wanted, unless there is one."""
        running = self._warming.get(launch)
        if not self._warm.setdefault(launch, deque()) and (running is None or running.done()):
            self._warming[launch] = asyncio.create_task(
                self._warm_up(launch, delay_s), name=f"standby {launch.driver}"
            )

    async def take(self, launch: Launch) -> WorkerProcess:
        """Return a worker: the warm one when there is one, else a new one.

        Raises:
            WorkerLost: it could not be started.
        """
        try:
            warm = self._warm.setdefault(launch, deque())
            while warm:
                if (worker := warm.popleft()).alive:
                    return worker
            return await self._start(launch)
        finally:
            self.warm(launch, _REPLENISH_DELAY_S)

    async def _warm_up(self, launch: Launch, delay_s: float) -> None:
        while True:
            await asyncio.sleep(delay_s)
            try:
                async with asyncio.timeout(_WARM_UP_S):
                    self._warm[launch].append(await self._start(launch))
            except (CameraLost, TimeoutError):
                return  # the next `take` fails by it, too, and reports it
            except Exception:
                _log.exception("unhandled exception in a warm-up", driver=launch.driver)
                delay_s = self._retry_s
            else:
                return

    async def _start(self, launch: Launch) -> WorkerProcess:
        """Start a worker when few others are starting."""
        await self._starts.acquire()
        place = contextlib.ExitStack()
        place.callback(self._starts.release)
        too_long = asyncio.get_running_loop().call_later(self._start_s, place.close)
        try:
            return await WorkerProcess.start(launch, liveness_interval_s=self._liveness_interval_s)
        finally:
            too_long.cancel()
            place.close()

    async def close(self) -> None:
        """Stop warming and end every warm worker."""
        tasks = list(self._warming.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        workers = [worker for warm in self._warm.values() for worker in warm]
        await asyncio.gather(*(worker.end("the service ends", _END_S) for worker in workers))
        self._warm.clear()
