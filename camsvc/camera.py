"""The actor of one camera: admission, attempts, and the bound of every call.

Invariants:

- Every public coroutine ends in bounded time, whatever the worker does: each wait below has a
  time-out, and the whole of a capture has one too.
- The work of a call is a task of the actor's. A client that leaves abandons it; the task ends by
  itself, and is ended when it outlasts the actor's patience.
- Calls use the worker one after the other, in their turns.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from camsvc.admission import Admission, Estimate, Turn
from camsvc.errors import (
    CameraBusy,
    CameraFaulted,
    CameraLost,
    CameraServiceError,
    CameraUnavailable,
    CaptureTimeout,
    DriverFault,
    InvalidRequest,
    QueueFull,
    Unsupported,
    WorkerTimeout,
)
from camsvc.frames import ControlValue, ImageInfo
from camsvc.lifecycle import State
from camsvc.live import LiveFeed
from camsvc.recovery import Rung, RungStatistics
from camsvc.supervisor import CameraOptions, CameraWorker, Supervisor
from camsvc.variants import LiveSpec
from camsvc.viewer import LiveFrame
from camsvc.worker import messages as m

T = TypeVar("T")

_LONGEST_EXPOSURE_S = 86_400.0
"""The most time that an exposure asked for adds to a call's bound: only the camera knows what it
takes, and before it has refused an absurd value, others are told when this call should end."""

_PATIENCE_FACTOR, _PATIENCE_S = 2.0, 0.5
"""An abandoned driver call counts as hung after twice the estimate and half a second: a shot
under way may end, so that the device is not killed in the middle of it for a client's haste."""


@dataclass(frozen=True, slots=True)
class CaptureResult:
    """A still that was taken. Durations in seconds; times in nanoseconds since the epoch."""

    capture_id: str
    camera: str
    request_id: str
    labels: Mapping[str, str]
    create_time_ns: int
    image: ImageInfo
    data: bytes
    attempts: int
    recoveries: int
    queue_s: float
    driver_s: float
    total_s: float


@dataclass(slots=True)
class CameraStatistics:
    """Counts since the service started."""

    captures_succeeded: int = 0
    captures_failed: int = 0
    captures_rejected: int = 0
    captures_busy: int = 0
    """Those of the rejected that found the camera busy, or its queue full."""
    capture_s_total: float = 0.0
    consecutive_failures: int = 0
    recoveries: Mapping[Rung, RungStatistics] = field(default_factory=dict)


class CameraActor:
    """One camera. Every method must be called on the event loop."""

    def __init__(
        self, options: CameraOptions, take_worker: Callable[[], Awaitable[CameraWorker]]
    ) -> None:
        self.options = options
        self.supervisor = Supervisor(options, take_worker)
        self._estimate = Estimate()
        self._admission = Admission(options.id, options.queue_limit, self._estimate)
        self._tasks: set[asyncio.Task[object]] = set()
        self._idle_timer: asyncio.TimerHandle | None = None
        self.live = LiveFeed(
            self.supervisor,
            camera=options.id,
            stall_timeout_s=options.stall_timeout_s,
            max_viewers=options.max_viewers,
        )
        self.live.on_empty = self._plan_idle_close
        self.statistics = CameraStatistics(recoveries=self.supervisor.ladder.statistics)

    # What clients ask for.

    async def capture(
        self,
        shot: m.Shot,
        *,
        request_id: str = "",
        labels: Mapping[str, str] | None = None,
        wait: bool = False,
        timeout_s: float | None = None,
    ) -> CaptureResult:
        """Take a still within `timeout_s`, or without it within the camera's worst case.

        With `wait`, the worst cases of the captures ahead come on top.

        Raises:
            CameraBusy, QueueFull: another capture is under way.
            CameraUnavailable: recovering, or the attempts are used up.
            CameraFaulted: an operator must act.
            CaptureTimeout: the time is over.
            Unsupported, InvalidRequest: by the driver.
        """
        exposure_s = _exposure_s({**self.supervisor.controls, **shot.controls})
        turn = Turn(str(uuid.uuid4()), request_id, extra_s=exposure_s)
        try:
            self.supervisor.refuse_when_hopeless()
            ahead = self._admission.captures
            self._admission.enter(turn, wait=wait, timeout_s=timeout_s)
        except CameraServiceError as error:
            self.statistics.captures_rejected += 1
            self.statistics.captures_busy += isinstance(error, CameraBusy | QueueFull)
            raise

        async def work(worker: CameraWorker, attempt_s: float) -> CaptureResult:
            answer = await worker.call(m.Capture(shot), attempt_s)
            assert isinstance(answer, m.Captured)
            return CaptureResult(
                capture_id=turn.id,
                camera=self.options.id,
                request_id=request_id,
                labels=dict(labels or {}),
                create_time_ns=turn.entered_ns,
                image=answer.image,
                data=worker.take_image(answer.image),
                attempts=turn.attempts,
                recoveries=turn.recoveries,
                queue_s=turn.started - turn.entered,
                driver_s=answer.driver_s + answer.encode_s,
                total_s=asyncio.get_running_loop().time() - turn.entered,
            )

        return await self._in_turn(turn, work, timeout_s, captures_ahead=ahead)

    async def list_controls(self, timeout_s: float | None = None) -> list[m.Control]:
        """Return the controls with their present values. Errors as `capture`, but never busy."""
        return await self._control_call(m.ListControls(), timeout_s)

    async def set_controls(
        self, values: Mapping[str, ControlValue], timeout_s: float | None = None
    ) -> list[m.Control]:
        """Set controls, also again after each recovery; return all as they are then."""
        controls = await self._control_call(m.SetControls(dict(values)), timeout_s)
        self.supervisor.controls |= values
        return controls

    async def get_frame(
        self, spec: LiveSpec, max_age_s: float | None, timeout_s: float | None
    ) -> LiveFrame:
        """Return one live frame; see `LiveFeed.frame`. Never busy."""
        worst_s = self.worst_case_s()
        bound_s = worst_s if timeout_s is None else min(timeout_s, worst_s)
        return await self.live.frame(spec, max_age_s=max_age_s, timeout_s=bound_s)

    async def reset(self) -> None:
        """Give the camera a new worker; see `Supervisor.reset`."""
        await self.supervisor.reset()

    async def close(self) -> None:
        """End everything; for the end of the service."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.live.close()
        await self.supervisor.close()

    # What clients are shown.

    @property
    def active(self) -> Turn | None:
        """The capture under way."""
        holder = self._admission.holder
        return holder if holder is not None and holder.started else None

    @property
    def queued(self) -> int:
        """How many captures wait."""
        return self._admission.queued

    def expected_end_ns(self, turn: Turn) -> int:
        """Return when a capture should end, in nanoseconds since the epoch."""
        left_s = self._admission.expected_end(turn) - asyncio.get_running_loop().time()
        return time.time_ns() + int(left_s * 1e9)

    def worst_case_s(self, exposure_s: float = 0.0) -> float:
        """Return the longest a capture may take: every attempt in full, each after an opening."""
        o = self.options
        exposure_s = max(exposure_s, _exposure_s(self.supervisor.controls))
        return o.attempts * (o.open_timeout_s + o.attempt_timeout_s + exposure_s)

    # One call's way: line, attempts, bound.

    async def _control_call(self, command: m.Command, timeout_s: float | None) -> list[m.Control]:
        self.supervisor.refuse_when_hopeless()

        async def work(worker: CameraWorker, attempt_s: float) -> list[m.Control]:
            answer = await worker.call(command, attempt_s)
            assert isinstance(answer, m.Controls)
            return answer.controls

        turn = Turn(str(uuid.uuid4()), is_capture=False)
        self._admission.enter(turn, wait=True)
        return await self._in_turn(turn, work, timeout_s)

    async def _in_turn(
        self,
        turn: Turn,
        work: Callable[[CameraWorker, float], Awaitable[T]],
        timeout_s: float | None,
        captures_ahead: int = 0,
    ) -> T:
        """Run `work` as a task of the actor's, and wait for it until the bound."""
        task = asyncio.create_task(self._run(turn, work), name=f"{self.options.id} {turn.id}")
        self._own(task)
        # Not in the task's own `finally`: a task cancelled before its first step never gets there.
        task.add_done_callback(lambda _: self._end_turn(turn))
        # Each capture ahead may take its own worst case first.
        worst_s = self.worst_case_s(turn.extra_s) * (captures_ahead + 1)
        bound_s = worst_s if timeout_s is None else min(timeout_s, worst_s)
        try:
            async with asyncio.timeout(bound_s):
                return await asyncio.shield(task)
        except TimeoutError:
            self._abandon(turn, task)
            raise CaptureTimeout(
                f"camera {self.options.id!r} had not finished after {bound_s:.3g} s, which is "
                + ("the call's deadline" if bound_s == timeout_s else "its worst case"),
                metadata={"camera": self.options.id, "capture_id": turn.id},
            ) from None
        except asyncio.CancelledError:
            self._abandon(turn, task)
            raise

    async def _run(self, turn: Turn, work: Callable[[CameraWorker, float], Awaitable[T]]) -> T:
        try:
            await self._admission.reach_front(turn)
            result = await self._attempt(turn, work)
        except (CameraUnavailable, CameraFaulted, asyncio.CancelledError):
            self.statistics.captures_failed += turn.is_capture
            self.statistics.consecutive_failures += turn.is_capture
            raise
        if turn.is_capture:
            self.statistics.captures_succeeded += 1
            self.statistics.capture_s_total += asyncio.get_running_loop().time() - turn.entered
            self.statistics.consecutive_failures = 0
        return result

    def _end_turn(self, turn: Turn) -> None:
        self._admission.leave(turn)
        self._plan_idle_close()

    async def _attempt(self, turn: Turn, work: Callable[[CameraWorker, float], Awaitable[T]]) -> T:
        attempt_s = self.options.attempt_timeout_s + turn.extra_s
        failure: object = "nothing"
        while turn.attempts < self.options.attempts and not turn.abandoned:
            turn.attempts += 1
            try:
                worker = await self.supervisor.ready()
            except TimeoutError:
                failure = f"it was not open within {self.options.open_timeout_s:g} s"
                continue
            assert self.supervisor.device is not None
            self._estimate.guess_s = self.supervisor.device.expected_capture_s
            try:
                return await self._attempt_once(turn, work, worker, attempt_s)
            except DriverFault as fault:
                raise self.supervisor.refusal() from fault
            except CameraLost as error:
                failure = error
                turn.recoveries += 1
        raise self.supervisor.unavailable(
            f"failed in {turn.attempts} of {self.options.attempts} attempts; the last: {failure}",
            capture_id=turn.id,
            attempts=str(turn.attempts),
        )

    async def _attempt_once(
        self,
        turn: Turn,
        work: Callable[[CameraWorker, float], Awaitable[T]],
        worker: CameraWorker,
        attempt_s: float,
    ) -> T:
        turn.attempt_started = asyncio.get_running_loop().time()
        self.live.pause()
        if turn.is_capture:
            self.supervisor.begin_capture()
        try:
            result = await work(worker, attempt_s)
        except (InvalidRequest, Unsupported):
            self.supervisor.end_capture()
            raise
        except DriverFault as fault:
            self.supervisor.give_up(fault)
            raise
        except CameraLost as error:
            self.supervisor.lose(worker, error)
            raise
        except asyncio.CancelledError:
            outlasted = WorkerTimeout("an abandoned call outlasted the patience with it")
            self.supervisor.lose(worker, outlasted)
            raise
        else:
            self.supervisor.end_capture()
            self.supervisor.ladder.calm()
            if turn.is_capture:
                seconds = asyncio.get_running_loop().time() - turn.attempt_started
                self._estimate.add(max(0.0, seconds - turn.extra_s))
            return result
        finally:
            turn.attempt_started = None
            self.live.resume()

    def _abandon(self, turn: Turn, task: "asyncio.Task[object]") -> None:
        """Let an abandoned call's work end by itself, if it does so soon."""
        turn.abandoned = True
        if turn.attempt_started is None:
            task.cancel()
            return
        patience_s = _PATIENCE_FACTOR * (self._estimate.seconds + turn.extra_s) + _PATIENCE_S
        asyncio.get_running_loop().call_at(turn.attempt_started + patience_s, task.cancel)

    def _plan_idle_close(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self.options.idle_close_s:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self.options.idle_close_s, self._close_idle)

    def _close_idle(self) -> None:
        if not self._admission.idle or self.live.watched:
            return
        if self.supervisor.state in (State.OPENING, State.RECOVERING):
            self._plan_idle_close()  # whoever wanted it has left before it was ready
        else:
            self.supervisor.close_idle()

    def _own(self, task: "asyncio.Task[object]") -> None:
        """Keep a task until it ends; its failure is the waiting client's, when there is one."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda t: t.cancelled() or t.exception())


def _exposure_s(controls: Mapping[str, ControlValue]) -> float:
    value = controls.get("exposure_duration_us", 0)
    if not isinstance(value, int | float) or value <= 0:
        return 0.0
    return min(value / 1e6, _LONGEST_EXPOSURE_S)
