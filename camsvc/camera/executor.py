"""The calls of one camera: each in its turn, in attempts, and for no longer than its bound.

Invariants:

- Every wait here has a time-out, whatever the worker does, and the whole of a call has one too.
- The work of a call is a task of its own. A client that leaves abandons it; the task ends by
  itself, and is ended when it outlasts the patience with it.
- Calls use the worker one after the other, in their turns.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from camsvc.camera.ports import CameraOptions, CameraWorker
from camsvc.camera.queue import Admission, Estimate, Turn
from camsvc.camera.supervisor import Supervisor
from camsvc.ipc import messages as m
from camsvc.ipc.messages import AnswerT
from camsvc.live.feed import LiveFeed
from camsvc.model.errors import (
    CameraLost,
    CameraServiceError,
    CameraUnavailable,
    CaptureTimeout,
    DriverFault,
    WorkerTimeout,
)

T = TypeVar("T")
R = TypeVar("R")

_PATIENCE_FACTOR, _PATIENCE_S = 2.0, 0.5
"""An abandoned driver call counts as hung after twice the estimate and half a second: a shot
under way may end, so that the device is not killed in the middle of it for a client's haste."""


@dataclass(eq=False)
class Job(Generic[T]):
    """A call's work under way, and how many wait for it."""

    turn: Turn
    worst_s: float
    """The longest anybody may wait for it."""
    task: "asyncio.Task[T]" = field(init=False)
    waiting: int = 0
    shot: bool = False
    """Whether the shutter may have been pressed for it."""
    keeping: bool = False
    """Whether its picture is there, and only has to be kept."""
    on_failed: Callable[[CameraUnavailable], None] = lambda error: None
    """Told when an attempt has failed."""
    on_retry: Callable[[], None] = lambda: None
    """Told when the next one begins."""
    on_away: Callable[[], None] = lambda: None
    """Told when the camera does not come back soon."""
    dropped: bool = False
    """Whether it was cancelled, and only has to end: nobody may wait for it any more."""

    def drop(self) -> None:
        """Cancel it."""
        self.dropped = True
        self.task.cancel()


class Calls:
    """Runs jobs on a camera's worker."""

    def __init__(self, options: CameraOptions, supervisor: Supervisor, live: LiveFeed) -> None:
        self._options = options
        self._supervisor = supervisor
        self._live = live
        self.estimate = Estimate()
        self.line = Admission(options.id, options.queue_limit, self.estimate)
        self.on_end: Callable[[], None] = lambda: None
        """Told when a job has ended."""
        self.stopping = False
        """Whether it is the service that ends calls, and not who made them."""
        self._jobs: set[Job[Any]] = set()

    def start(self, job: Job[T], work: Coroutine[object, object, T]) -> None:
        """Begin a job, whose turn is in the line; it leaves that when it ends."""
        task = asyncio.create_task(work, name=f"{self._options.id} {job.turn.id}")
        job.task = task
        self._jobs.add(job)
        for other in self._jobs:
            self._limit(other.turn)  # it is no longer alone

        # Not in the task's own `finally`: a task cancelled before its first step never gets there.
        def end(_: object) -> None:
            self._jobs.discard(job)
            self.line.leave(job.turn)
            if not task.cancelled():
                task.exception()  # is the waiting client's, if there is one
            self.on_end()

        task.add_done_callback(end)

    async def result(self, job: Job[T], timeout_s: float | None) -> T:
        """Wait for a job until `timeout_s`, or without it until the job's own worst case.

        Raises:
            CaptureTimeout: the time is over. Whatever else the job raises.
            CameraUnavailable: it was dropped just before it was joined, or the service stops.
        """
        turn = job.turn
        bound_s = job.worst_s if timeout_s is None else min(timeout_s, job.worst_s)
        job.waiting += 1
        turn.abandoned = False
        if turn.limit is not None:
            turn.limit.reschedule(None)
        try:
            async with asyncio.timeout(bound_s):
                return await asyncio.shield(job.task)
        except TimeoutError:
            raise CaptureTimeout(
                f"camera {self._options.id!r} had not finished after {bound_s:.3g} s, which is "
                + ("the call's deadline" if bound_s == timeout_s else "its worst case"),
                metadata={"camera": self._options.id, "capture_id": turn.id},
            ) from None
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if not job.dropped or caller is None or caller.cancelling():
                raise  # who waits for it has left
            why = "the service stops" if self.stopping else "its first client left meanwhile"
            raise self._supervisor.unavailable(
                f"dropped the call: {why}", capture_id=turn.id
            ) from None
        finally:
            job.waiting -= 1
            if not job.waiting and not job.task.done():
                self._abandon(job)

    async def attempt(self, job: Job[T], work: Callable[[CameraWorker], Awaitable[R]]) -> R:
        """Do work in the job's turn, which has come, as often as the settings allow.

        Raises:
            CameraUnavailable: all attempts failed.
            CameraFaulted: an operator must act.
        """
        turn, supervisor, failure = job.turn, self._supervisor, "nothing"
        while turn.attempts < self._options.attempts and not (
            turn.abandoned and not (turn.request_id and job.shot)
        ):
            turn.attempts += 1
            if turn.attempts > 1:
                job.on_retry()
            try:
                worker = await supervisor.ready()
                assert supervisor.device is not None
                self.estimate.guess_s = supervisor.device.expected_capture_s
                return await self._attempt_once(turn, work, worker)
            except TimeoutError:
                failure = f"it was not open within {self._options.open_timeout_s:g} s"
            except DriverFault as fault:
                raise supervisor.refusal() from fault
            except CameraLost as error:
                failure = str(error)
                turn.recoveries += 1
            job.on_failed(supervisor.unavailable(f"failed in attempt {turn.attempts}: {failure}"))
        raise supervisor.unavailable(
            f"failed in {turn.attempts} of {self._options.attempts} attempts; the last: {failure}",
            capture_id=turn.id,
            attempts=str(turn.attempts),
        )

    def hear_progress(self, hear: Callable[[int], None]) -> None:
        """Have what the driver says of the still under way heard."""
        self._supervisor.on_progress = hear

    async def call(self, turn: Turn, worker: CameraWorker, command: m.Command[AnswerT]) -> AnswerT:
        """Make one driver call; while nobody waits for it, only for as long as patience lasts."""
        turn.called = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(None) as turn.limit:
                self._limit(turn)
                return await worker.call(command, self._options.attempt_timeout_s + turn.extra_s)
        except TimeoutError:
            raise WorkerTimeout("an abandoned call outlasted the patience with it") from None
        except asyncio.CancelledError:
            self._supervisor.lose(worker, WorkerTimeout("its call was cancelled"))
            raise
        finally:
            turn.limit = None

    def away(self) -> None:
        """Note that the camera does not come back soon, for those who can go on without it."""
        for job in self._jobs:
            job.on_away()

    async def close(self) -> None:
        """End every job; only a picture that is there is still kept."""
        tasks = [job.task for job in self._jobs]
        for job in self._jobs:
            if not job.keeping:
                job.drop()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _attempt_once(
        self, turn: Turn, work: Callable[[CameraWorker], Awaitable[R]], worker: CameraWorker
    ) -> R:
        self._live.pause()
        if turn.is_capture:
            self._supervisor.begin_capture()
        try:
            result = await work(worker)
        except DriverFault as fault:
            self._supervisor.give_up(fault)
            raise
        except CameraLost as error:
            self._supervisor.lose(worker, error)
            raise
        except (CameraServiceError, asyncio.CancelledError):  # the camera is well
            self._supervisor.end_capture()
            raise
        else:
            self._supervisor.end_capture()
            self._supervisor.ladder.calm()
            if turn.is_capture:
                seconds = asyncio.get_running_loop().time() - turn.called
                self.estimate.add(max(0.0, seconds - turn.extra_s))
            return result
        finally:
            self._live.resume()

    def _abandon(self, job: Job[T]) -> None:
        """Let work that nobody waits for end by itself, if it does so soon.

        With a request id, a shot that was begun goes on to its own bound: its client may come back.
        """
        turn = job.turn
        turn.abandoned = True
        if turn.limit is not None:
            self._limit(turn)
        elif not (job.keeping or (job.shot and turn.request_id)):
            job.drop()

    def _limit(self, turn: Turn) -> None:
        """Bound the driver call under way where nobody waits for it, by the patience with it.

        One whose client may come back has none to fear until somebody else wants the camera.
        """
        if turn.limit is None or not turn.abandoned:
            return
        if not turn.request_id or self.line.others_than(turn):
            patience_s = _PATIENCE_FACTOR * (self.estimate.seconds + turn.extra_s) + _PATIENCE_S
            turn.limit.reschedule(turn.called + patience_s)
