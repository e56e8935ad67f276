"""The calls of one camera: each a task of its own, shared by the clients that wait for it.

Invariants:

- Every wait here has a bound, whatever the worker does.
- A client that leaves abandons its call, but does not end it: a call that nobody waits for ends by
  itself, and is ended when it outlasts the patience with it. So an impatient client does not
  get the device killed in the middle of a shot.
- Calls use the worker one after the other, in the order of the queue.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import structlog

from camsvc.camera.call import Call, CallCancelled
from camsvc.camera.deadline import Deadline
from camsvc.camera.observer import CameraObserver
from camsvc.camera.queue import CaptureQueue, Ticket
from camsvc.model.errors import CameraServiceError, CameraUnavailable
from camsvc.model.retry_hint import SERVICE_RESTART_S

_log = structlog.get_logger()

T = TypeVar("T")

_PATIENCE_FACTOR, _PATIENCE_S = 2.0, 0.5
"""An abandoned driver call counts as hung after twice the expected time and half a second."""


_HISTORY_S = 1.0
"""How long an error waits until the history has it, too: a disk may not answer at all."""


class Executor(CameraObserver):
    """Runs the calls of one camera."""

    def __init__(
        self, camera: str, queue: CaptureQueue, observers: Sequence[CameraObserver]
    ) -> None:
        self._camera = camera
        self._queue = queue
        self._observers = observers
        self._calls: set[Call[Any]] = set()
        self.stopping = False
        """Whether it is the service that ends calls from now on, and not their clients."""

    def add(self, call: Call[Any], moved: Collection[Ticket] = ()) -> None:
        """Own a call that has just been made; it leaves the queue when it ends.

        `moved` are those that it was put before.
        """
        self._report_moved(moved)
        self._calls.add(call)
        for other in self._calls:
            self._limit(other)  # it is no longer alone
        # Not in the task's own `finally`: a task cancelled before its first step never gets there.
        call.task.add_done_callback(lambda _: self._end(call))

    async def result(self, call: Call[T], deadline: Deadline) -> T:
        """Wait for a call until a deadline, which is later where others are taken before it.

        Raises:
            CaptureTimeout: the time is over.
            CameraUnavailable: it was cancelled just before it was joined, or the service stops.
            Whatever the call raises.
        """
        ticket = call.ticket
        call.clients += 1
        call.was_joined = True
        ticket.has_client = True
        call.set_patience(None)
        try:
            return await self._ended(call, deadline)
        except CameraServiceError:
            if call.end_saved is not None:  # a client that has the error finds it in the history
                await asyncio.wait([call.end_saved], timeout=min(deadline.left_s, _HISTORY_S))
            raise
        except asyncio.CancelledError:
            client = asyncio.current_task()
            if not call.cancelled or client is None or client.cancelling():
                raise  # it is the client that has left
            why = "the service stops" if self.stopping else "its first client has just left"
            raise CameraUnavailable(
                f"camera {self._camera!r} cancelled the call: {why}",
                retry_after_s=SERVICE_RESTART_S if self.stopping else 0.0,
                metadata={"camera": self._camera, "capture_id": ticket.id},
            ) from None
        finally:
            call.clients -= 1
            if not call.clients and not call.task.done():
                self._abandon(call)

    async def _ended(self, call: Call[T], deadline: Deadline) -> T:
        while True:
            bound = call.bound(deadline)
            try:
                async with asyncio.timeout_at(bound.at):
                    return await asyncio.shield(call.task)
            except TimeoutError:
                if call.bound(deadline).at <= bound.at:
                    raise bound.exceeded(self._camera, capture_id=call.ticket.id) from None

    def on_progress(self, percent: int) -> None:
        for call in self._calls:
            if call.attempt is not None and call.attempt.calling:
                call.attempt.progressed(percent)
                call.on_progress(percent)

    def find(self, request_id: str) -> Call[Any] | None:
        """Return the call under way with a request id that another client can join."""
        same = (call for call in self._calls if request_id and call.ticket.request_id == request_id)
        return next((call for call in same if not call.cancelled), None)

    def on_unavailable(self, error: CameraServiceError) -> None:
        """Let the calls know that their camera does not come back soon."""
        for call in self._calls:
            call.on_camera_unavailable()

    async def close(self) -> None:
        """End every call; only a picture that is there is still saved."""
        self.stopping = True
        for call in self._calls:
            if not call.is_saving:
                call.cancel()
        await asyncio.gather(*(call.task for call in self._calls), return_exceptions=True)

    def _end(self, call: Call[Any]) -> None:
        self._calls.discard(call)
        self._report_moved(self._queue.leave(call.ticket))
        call.on_end(self._error_of(call))
        for observer in self._observers:
            observer.on_use_ended()

    def _report_moved(self, moved: Collection[Ticket]) -> None:
        for call in self._calls:
            if call.ticket in moved:
                call.on_moved()

    def _error_of(self, call: Call[Any]) -> CameraServiceError | None:
        """Return what the history has of a call that has ended without a result."""
        kind: type[CameraUnavailable] = CallCancelled
        if call.task.cancelled():
            left = not call.ticket.has_client and not self.stopping
            why = "its client left" if left else "the service stopped"
        else:
            error = call.task.exception()
            if error is None or isinstance(error, CameraServiceError):
                return error
            if not call.clients:  # otherwise the client's face logs it
                _log.error("unhandled exception", camera=self._camera, exc_info=error)
            kind, why = CameraUnavailable, "there was an internal error"
        return kind(f"camera {self._camera!r}: {why} before there was a picture", retry_after_s=0.0)

    def _abandon(self, call: Call[Any]) -> None:
        """Let work that nobody waits for end by itself, if it does so soon."""
        call.ticket.has_client = False
        if call.attempt is not None and call.attempt.calling:
            self._limit(call)
        elif not call.outlives_its_clients:
            call.cancel()

    def _limit(self, call: Call[Any]) -> None:
        """Bound the driver calls of one that nobody waits for by the patience with it.

        One whose client may come back needs no bound until somebody else wants the camera.
        """
        ticket = call.ticket
        if ticket.has_client:
            return
        if not ticket.request_id or self._queue.has_others(ticket):
            call.set_patience(_PATIENCE_FACTOR * self._queue.expected_s(ticket) + _PATIENCE_S)
