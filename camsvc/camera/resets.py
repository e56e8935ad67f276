"""Resets of one camera: those that are wanted at one time are one, and captures fit in between."""

import asyncio

from camsvc.camera.supervisor import Supervisor
from camsvc.model.errors import RateLimited
from camsvc.system.event_loop import loop_time

_REST = 4.0
"""After a reset, so many times what it took are left to everything else."""

_CAPTURES = 2.0
"""And so many captures: each reset costs the one under way an attempt."""

_SHORTEST_REST_S, _LONGEST_REST_S = 1.0, 20.0


class Resets:
    """Resets a camera, however many callers want it."""

    def __init__(self, camera: str, supervisor: Supervisor, open_timeout_s: float) -> None:
        self._camera = camera
        self._supervisor = supervisor
        self._longest_wait_s = open_timeout_s / 2
        self._task: asyncio.Task[None] | None = None
        """The reset that is under way, or begins when it may."""
        self._next_at = 0.0

    async def reset(self, capture_s: float) -> None:
        """Reset the camera, whose captures take `capture_s`, or wait for the reset under way.

        A reset soon after another one waits; one that would have to for long is refused.

        Raises:
            RateLimited: it would have to wait for more than half the open time-out.
            CameraUnavailable, CameraFaulted: see `Supervisor.reset`.
        """
        if self._task is None or self._task.done():
            wait_s = self._next_at - loop_time()
            if wait_s > self._longest_wait_s:
                raise RateLimited(
                    f"camera {self._camera!r} was reset a moment ago, and others use it; it may be "
                    f"reset again in {wait_s:.1f} s",
                    retry_after_s=wait_s,
                    metadata={"camera": self._camera, "limit": "1"},
                )
            name = f"{self._camera} reset"
            self._task = asyncio.create_task(self._reset(wait_s, capture_s), name=name)
            # All who wait for it may have left.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._task)

    async def close(self) -> None:
        """End the one under way; for the end of the service."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _reset(self, wait_s: float, capture_s: float) -> None:
        await asyncio.sleep(wait_s)
        begun = loop_time()
        self._next_at = begun + _SHORTEST_REST_S
        await self._supervisor.reset()
        now = loop_time()
        rest_s = max(_REST * (now - begun), _CAPTURES * capture_s, _SHORTEST_REST_S)
        self._next_at = now + min(rest_s, _LONGEST_REST_S)
