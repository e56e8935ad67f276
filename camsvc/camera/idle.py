"""Closes a camera that nobody has used for a while."""

import asyncio

from camsvc.camera.observer import CameraObserver
from camsvc.camera.queue import CaptureQueue
from camsvc.camera.supervisor import Supervisor
from camsvc.live.feed import LiveFeed
from camsvc.model.lifecycle import State


class IdleTimer(CameraObserver):
    """Closes the device when it has had no call and no viewer for `after_s`; 0: never."""

    def __init__(
        self, supervisor: Supervisor, queue: CaptureQueue, live: LiveFeed, after_s: float
    ) -> None:
        self._supervisor = supervisor
        self._queue = queue
        self._live = live
        self._after_s = after_s
        self._timer: asyncio.TimerHandle | None = None

    def on_use_ended(self) -> None:
        self.cancel()
        if self._after_s:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._after_s, self._close_if_idle)

    def cancel(self) -> None:
        """Close nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _close_if_idle(self) -> None:
        if not self._queue.empty or self._live.watched:
            return
        if self._supervisor.state in (State.OPENING, State.AWAY, State.RECOVERING):
            self.on_use_ended()  # its client has left before it was ready
        else:
            self._supervisor.close_idle()
