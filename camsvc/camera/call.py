"""One call of a camera, and its attempt under way."""

import asyncio
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from camsvc.camera.deadline import loop_time
from camsvc.camera.ports import CameraWorker
from camsvc.camera.queue import Ticket
from camsvc.ipc import messages as m
from camsvc.ipc.messages import AnswerT
from camsvc.model.errors import CameraServiceError, CameraUnavailable, WorkerTimeout

T = TypeVar("T")


class Attempt:
    """One try of a call's work, with the worker that it is made with."""

    def __init__(self, call: "Call[Any]", worker: CameraWorker, timeout_s: float) -> None:
        self.number = call.attempts
        self.worker = worker
        self.called = 0.0
        """When its last driver call began, in the event loop's time."""
        self.interrupted = False
        """Whether it was cancelled in the middle of a driver call."""
        self._call = call
        self._timeout_s = timeout_s
        self._timeout: asyncio.Timeout | None = None

    @property
    def calling(self) -> bool:
        """Whether a driver call is under way."""
        return self._timeout is not None

    async def call(self, command: m.Command[AnswerT]) -> AnswerT:
        """Make one driver call, within the attempt's time-out and the patience with it.

        Raises: as `CameraWorker.call`.
        """
        self.called = loop_time()
        try:
            async with asyncio.timeout(None) as self._timeout:
                self.limit()
                return await self.worker.call(command, self._timeout_s)
        except WorkerTimeout as error:
            raise WorkerTimeout(
                f"{error}, the camera's attempt_timeout_s and the exposure"
            ) from None
        except TimeoutError:
            raise WorkerTimeout("an earlier call did not finish in time") from None
        except asyncio.CancelledError:
            self.interrupted = True
            raise
        finally:
            self._timeout = None

    def limit(self) -> None:
        """Bound the driver call under way by the patience with its call, as that is now."""
        patience_s = self._call.patience_s
        if self._timeout is not None:
            self._timeout.reschedule(None if patience_s is None else self.called + patience_s)


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
        """How long a driver call may last while nobody waits for it; None: as long as any."""
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

    def on_moved_up(self) -> None:
        """Fewer captures than before are ahead of it."""

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
