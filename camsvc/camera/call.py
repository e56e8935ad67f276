"""One call of a camera, and its attempt under way."""

import asyncio
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from camsvc.camera.deadline import Deadline
from camsvc.camera.ports import CameraWorker
from camsvc.camera.queue import Ticket
from camsvc.ipc import messages as m
from camsvc.ipc.messages import AnswerT
from camsvc.model.errors import CameraServiceError, CameraUnavailable, WorkerTimeout
from camsvc.system.event_loop import loop_time

T = TypeVar("T")


class Attempt:
    """One try of a call's work, with the worker that it is made with.

    A driver call ends `timeout_s` after its last progress, and `longest_s` after its begin.
    """

    def __init__(
        self, call: "Call[Any]", worker: CameraWorker, timeout_s: float, longest_s: float
    ) -> None:
        self.number = call.attempts
        self.worker = worker
        self.called = 0.0
        """When its last driver call began, in the event loop's time."""
        self.interrupted = False
        """Whether it was cancelled in the middle of a driver call."""
        self._call = call
        self._timeout_s = timeout_s
        self._longest_s = longest_s
        self._percent, self._progressed = 0, 0.0
        """How far the driver call is, as far as was reported, and since when."""
        self._timeout: asyncio.Timeout | None = None

    @property
    def calling(self) -> bool:
        """Whether a driver call is under way."""
        return self._timeout is not None

    async def call(self, command: m.Command[AnswerT]) -> AnswerT:
        """Make one driver call, within its bounds and the patience with it.

        Raises: as `CameraWorker.call`.
        """
        self.called = self._progressed = loop_time()
        self._percent = 0
        try:
            async with asyncio.timeout(None) as self._timeout:
                self.limit()
                return await self.worker.call(command, self._longest_s)
        except WorkerTimeout as error:
            raise WorkerTimeout(f"{error}, the worst case of its call") from None
        except TimeoutError:
            raise WorkerTimeout(self._why_ended(type(command).__name__)) from None
        except asyncio.CancelledError:
            self.interrupted = True
            raise
        finally:
            self._timeout = None

    def progressed(self, percent: int) -> None:
        """The driver call under way has come so far: where that is further, its time starts again.

        So a driver that reports progress has its time-out a hundred times at most.
        """
        if percent > self._percent:
            self._percent, self._progressed = percent, loop_time()
            self.limit()

    def limit(self) -> None:
        """Bound the driver call under way by its time-out, and the patience as that is now."""
        if self._timeout is not None:
            self._timeout.reschedule(self._progressed + self._allowed_s)

    @property
    def _allowed_s(self) -> float:
        """How long the driver call may go on without progress."""
        patience_s = self._call.patience_s
        return self._timeout_s if patience_s is None else min(patience_s, self._timeout_s)

    def _why_ended(self, what: str) -> str:
        if self._allowed_s < self._timeout_s:
            return "an earlier call did not finish in time"
        how = f"did not get beyond {self._percent} %" if self._percent else "was not answered"
        return (
            f"{what} {how} within {self._timeout_s:.3g} s, the camera's attempt_timeout_s and the "
            "exposure"
        )


class Call(ABC, Generic[T]):
    """A call's work, a task that clients wait for; its ticket is in the queue.

    The task begins in the next step of the event loop, when all of the object is there.
    """

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.task = asyncio.create_task(self.run(), name=ticket.id)
        self.attempts = 0
        """How many attempts have begun."""
        self.recoveries = 0
        """How many of them failed because the camera was lost."""
        self.attempt: Attempt | None = None
        """The attempt under way."""
        self.patience_s: float | None = None
        """How long a driver call may go on without progress while nobody waits for it; None: as
        long as any."""
        self.shutter_released = False
        """Whether there may be a shot already."""
        self.is_saving = False
        """Whether its picture is there, and only has to be saved."""
        self.clients = 0
        """How many wait for it."""
        self.was_joined = False
        """Whether any client has waited for it."""
        self.end_saved: asyncio.Future[None] | None = None
        """Done once the history has it that it failed; None while it may succeed."""
        self.cancelled = False
        """Whether `cancel` was called."""

    @abstractmethod
    async def run(self) -> T:
        """Do the work in the ticket's turn."""

    @property
    def outlives_its_clients(self) -> bool:
        """Whether it goes on when nobody waits for it: its client may come back for the shot."""
        return self.is_saving or (self.shutter_released and bool(self.ticket.request_id))

    @property
    def is_wanted(self) -> bool:
        """Whether another attempt is worth making."""
        return self.ticket.has_client or self.outlives_its_clients

    def bound(self, deadline: Deadline) -> Deadline:
        """Return a client's deadline with the time, as far as is known, that others take before."""
        return deadline

    def set_patience(self, seconds: float | None) -> None:
        """Limit the driver call under way, and those to come, to `seconds`."""
        self.patience_s = seconds
        if self.attempt is not None:
            self.attempt.limit()

    def cancel(self) -> None:
        """Let it end; nobody may wait for it any more."""
        self.cancelled = True
        self.task.cancel()

    # Hooks.

    def on_moved(self) -> None:
        """More or fewer captures than before are ahead of it."""

    def on_attempt(self) -> None:
        """An attempt begins."""

    def on_attempt_failed(self, error: CameraUnavailable) -> None:
        """An attempt has failed; there may be another one."""

    def on_camera_unavailable(self) -> None:
        """The camera does not come back soon."""

    def on_progress(self, percent: int) -> None:
        """The driver call under way has come so far, from 0 to 100."""

    def on_end(self, error: CameraServiceError | None) -> None:
        """It has ended, with a result or an error (CallCancelled where it was cancelled)."""


class CallCancelled(CameraUnavailable):
    """Nobody waits for the call any more, or the service stops."""
