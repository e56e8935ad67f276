"""The actor of one camera: it alone calls the camera's worker.

Invariants:

- Every public coroutine ends in bounded time, whatever the worker does: each wait below has a
  time-out, and the whole of a capture has one too.
- The work of a capture is a task of the actor's. A client that leaves abandons it; the task ends
  by itself, and is ended when it outlasts the actor's patience.
- The state changes only in `_apply`, by the table of `lifecycle`.
- At most one of `_revival` (opening or recovering) and a worker call is under way, but for Reset,
  which ends both.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import structlog

from camsvc import lifecycle
from camsvc.admission import Admission, Estimate, Turn
from camsvc.errors import (
    CameraFaulted,
    CameraLost,
    CameraServiceError,
    CameraUnavailable,
    CaptureTimeout,
    DriverError,
    DriverFault,
    InvalidRequest,
    Unsupported,
    WorkerLost,
    WorkerTimeout,
)
from camsvc.frames import ControlValue, ImageInfo
from camsvc.lifecycle import Event, State
from camsvc.recovery import Ladder, Rung, RungStatistics
from camsvc.worker import messages as m

T = TypeVar("T")

_CLOSE_S = 2.0
"""How long a device may take to close before its worker is killed."""

_PATIENCE_FACTOR, _PATIENCE_S = 2.0, 0.5
"""An abandoned driver call counts as hung after twice the estimate and half a second: a shot
under way may end, so that the device is not killed in the middle of it for a client's haste."""


class CameraWorker(Protocol):
    """What the actor needs of a worker; `worker.parent.Worker` is one."""

    ended: "asyncio.Task[None]"

    @property
    def notes(self) -> bytes: ...
    async def call(self, command: m.Command, timeout_s: float) -> m.Answer: ...
    def take_image(self, image: ImageInfo) -> bytes: ...
    def kill(self, why: str, *, dump_stack: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """A camera's settings as plain values; the names are those of the settings file."""

    id: str
    driver: str
    driver_settings: Mapping[str, object] = field(default_factory=dict)
    controls: Mapping[str, ControlValue] = field(default_factory=dict)
    attempts: int = 3
    attempt_timeout_s: float = 10.0
    open_timeout_s: float = 15.0
    queue_limit: int = 16
    idle_close_s: float = 0.0


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
    consecutive_failures: int = 0
    recoveries: Mapping[Rung, RungStatistics] = field(default_factory=dict)


class CameraActor:
    """One camera. Every method must be called on the event loop."""

    def __init__(
        self, options: CameraOptions, take_worker: Callable[[], Awaitable[CameraWorker]]
    ) -> None:
        self.options = options
        self.state = State.CLOSED
        self.state_time_ns = time.time_ns()
        self.fault: CameraServiceError | None = None
        self.device: m.DeviceInfo | None = None
        self.on_state: list[Callable[[State], None]] = []
        self._take_worker = take_worker
        self._worker: CameraWorker | None = None
        self._notes = b""
        self._controls = dict(options.controls)
        self._revival: asyncio.Task[None] | None = None
        self._retry_at = 0.0
        self._tasks: set[asyncio.Task[object]] = set()
        self._changed = asyncio.Event()
        self._ladder = Ladder()
        self._estimate = Estimate()
        self._admission = Admission(options.id, options.queue_limit, self._estimate)
        self._idle_timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self.statistics = CameraStatistics(recoveries=self._ladder.statistics)
        self._log = structlog.get_logger().bind(camera=options.id)

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

        Raises:
            CameraBusy, QueueFull: another capture is under way.
            CameraUnavailable: recovering, or the attempts are used up.
            CameraFaulted: an operator must act.
            CaptureTimeout: the time is over.
            Unsupported, InvalidRequest: by the driver.
        """
        exposure_s = _exposure_s({**self._controls, **shot.controls})
        turn = Turn(str(uuid.uuid4()), request_id, extra_s=exposure_s)
        try:
            self._refuse_when_hopeless()
            self._admission.enter(turn, wait=wait)
        except CameraServiceError:
            self.statistics.captures_rejected += 1
            raise

        async def work(worker: CameraWorker, attempt_s: float) -> CaptureResult:
            answer = await worker.call(m.Capture(shot), attempt_s)
            assert isinstance(answer, m.Captured)
            return CaptureResult(
                capture_id=turn.id,
                camera=self.options.id,
                request_id=request_id,
                labels=dict(labels or {}),
                create_time_ns=created_ns,
                image=answer.image,
                data=worker.take_image(answer.image),
                attempts=turn.attempts,
                recoveries=turn.recoveries,
                queue_s=turn.started - created,
                driver_s=answer.driver_s + answer.encode_s,
                total_s=asyncio.get_running_loop().time() - created,
            )

        created, created_ns = asyncio.get_running_loop().time(), time.time_ns()
        return await self._in_turn(turn, work, timeout_s)

    async def list_controls(self, timeout_s: float | None = None) -> list[m.Control]:
        """Return the controls with their present values. Errors as `capture`, but never busy."""
        return await self._control_call(m.ListControls(), timeout_s)

    async def set_controls(
        self, values: Mapping[str, ControlValue], timeout_s: float | None = None
    ) -> list[m.Control]:
        """Set controls, also again after each recovery; return all as they are then."""
        controls = await self._control_call(m.SetControls(dict(values)), timeout_s)
        self._controls |= values
        return controls

    async def reset(self) -> None:
        """Kill the worker, forget a fault and open the camera anew.

        A capture under way loses its attempt.

        Raises:
            CameraUnavailable: it is not open within its open time-out; it goes on trying.
            CameraFaulted: it needs an operator.
        """
        self._log.info("camera reset")
        if self.state is State.CAPTURING:
            assert self._worker is not None
            self._worker.kill("the camera was reset")  # the capture's own attempts go on
        else:
            self._drop_worker("the camera was reset")
            self._ladder.calm()
            self._revive(Event.RESET, self._open_first)
        try:
            await self._ready()
        except TimeoutError:
            raise CameraUnavailable(
                f"camera {self.options.id!r} was not open again within "
                f"{self.options.open_timeout_s:g} s",
                retry_after_s=self._expected_recovery_s(),
                metadata={"camera": self.options.id},
            ) from None

    def open(self) -> None:
        """Begin opening a closed camera in the background."""
        if self.state is State.CLOSED:
            self._revive(Event.OPEN, self._open_first)

    async def close(self) -> None:
        """End everything, the device politely when it answers; for the end of the service."""
        for task in [*self._tasks, *([self._closing] if self._closing else [])]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._end_revival()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self.state is State.READY and self._worker is not None:
            await self._close_device(self._worker)
        self._drop_worker("the service ends")
        if self.state is not State.CLOSED:
            self._apply(Event.CLOSE)

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
        exposure_s = max(exposure_s, _exposure_s(self._controls))
        return o.attempts * (o.open_timeout_s + o.attempt_timeout_s + exposure_s)

    # One call's way: line, attempts, bound.

    async def _control_call(self, command: m.Command, timeout_s: float | None) -> list[m.Control]:
        self._refuse_when_hopeless()

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
    ) -> T:
        """Run `work` as a task of the actor's, and wait for it until the bound."""
        task = asyncio.create_task(self._run(turn, work), name=f"{self.options.id} {turn.id}")
        self._own(task)
        # Not in the task's own `finally`: a task cancelled before its first step never gets there.
        task.add_done_callback(lambda _: self._end_turn(turn))
        worst_s = self.worst_case_s(turn.extra_s)
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
                worker = await self._ready()
            except TimeoutError:
                failure = f"it was not open within {self.options.open_timeout_s:g} s"
                continue
            try:
                return await self._attempt_once(turn, work, worker, attempt_s)
            except DriverFault as fault:
                raise self._refused() from fault
            except CameraLost as error:
                failure = error
                turn.recoveries += 1
        raise CameraUnavailable(
            f"camera {self.options.id!r} failed in {turn.attempts} of "
            f"{self.options.attempts} attempts; the last: {failure}",
            retry_after_s=self._expected_recovery_s(),
            metadata={
                "camera": self.options.id,
                "capture_id": turn.id,
                "attempts": str(turn.attempts),
            },
        )

    async def _attempt_once(
        self,
        turn: Turn,
        work: Callable[[CameraWorker, float], Awaitable[T]],
        worker: CameraWorker,
        attempt_s: float,
    ) -> T:
        turn.attempt_started = asyncio.get_running_loop().time()
        if turn.is_capture:
            self._apply(Event.CAPTURE)
        try:
            result = await work(worker, attempt_s)
        except (InvalidRequest, Unsupported):
            self._end_attempt(turn)
            raise
        except DriverFault as fault:
            self._fault(fault)
            raise
        except CameraLost as error:
            self._lose(worker, error)
            raise
        except asyncio.CancelledError:
            self._lose(worker, WorkerTimeout("an abandoned capture outlasted the patience with it"))
            raise
        else:
            self._end_attempt(turn)
            self._ladder.calm()
            if turn.is_capture:
                seconds = asyncio.get_running_loop().time() - turn.attempt_started
                self._estimate.add(max(0.0, seconds - turn.extra_s))
            return result
        finally:
            turn.attempt_started = None

    def _end_attempt(self, turn: Turn) -> None:
        if turn.is_capture and self.state is State.CAPTURING:
            self._apply(Event.CAPTURED)

    def _abandon(self, turn: Turn, task: "asyncio.Task[object]") -> None:
        """Let an abandoned call's work end by itself, if it does so soon."""
        turn.abandoned = True
        if turn.attempt_started is None:
            task.cancel()
            return
        patience_s = _PATIENCE_FACTOR * (self._estimate.seconds + turn.extra_s) + _PATIENCE_S
        asyncio.get_running_loop().call_at(turn.attempt_started + patience_s, task.cancel)

    # The way to READY and back.

    async def _ready(self) -> CameraWorker:
        """Wait until the camera is ready, opening it when it is closed.

        Raises:
            CameraFaulted: it needs an operator.
            TimeoutError: it was not ready within its open time-out.
        """
        async with asyncio.timeout(self.options.open_timeout_s):
            while True:
                changed = self._changed
                if self.state is State.READY:
                    assert self._worker is not None
                    return self._worker
                if self.state is State.FAULTED:
                    raise self._refused()
                self.open()
                await changed.wait()

    def _refuse_when_hopeless(self) -> None:
        """Refuse at once while the camera is faulted or only waits for its next try."""
        if self.state is State.FAULTED:
            raise self._refused()
        left_s = self._retry_at - asyncio.get_running_loop().time()
        if self.state is State.RECOVERING and left_s > 0:
            raise CameraUnavailable(
                f"camera {self.options.id!r} is recovering; the next try is in {left_s:.1f} s "
                f"({self.fault})",
                retry_after_s=self._expected_recovery_s(),
                metadata={"camera": self.options.id},
            )

    def _refused(self) -> CameraFaulted:
        return CameraFaulted(
            f"camera {self.options.id!r} needs an operator: {self.fault}",
            metadata={"camera": self.options.id},
        )

    def _expected_recovery_s(self) -> float:
        back_off_s = max(0.0, self._retry_at - asyncio.get_running_loop().time())
        longest = max((s.last_duration_s for s in self._ladder.statistics.values()), default=0.0)
        return back_off_s + min(max(longest, 0.5), self.options.open_timeout_s)

    def _revive(self, event: Event, climb: Callable[[], Awaitable[None]]) -> None:
        self._apply(event)
        self._revival = asyncio.create_task(
            self._revived(climb, self._revival), name=f"{self.options.id} {event.value}"
        )

    async def _revived(
        self, climb: Callable[[], Awaitable[None]], previous: "asyncio.Task[None] | None"
    ) -> None:
        """Own an opening or a recovery: it ends in READY or FAULTED, or is cancelled."""
        if previous is not None:
            previous.cancel()
            await asyncio.wait([previous])
        try:
            await climb()
        except DriverFault as fault:
            self._fault(fault)
        except CameraServiceError as error:  # the settings' own controls are refused
            self._fault(DriverFault(f"the settings' {error}"))
        except Exception:
            self._log.exception("recovery failed in an unforeseen way")
            self._fault(DriverFault("an internal error, see the service's log; reset the camera"))

    async def _open_first(self) -> None:
        try:
            await self._open_with_new_worker()
        except CameraLost as error:
            self._note_loss(error)
            self._apply(Event.LOST)
            await self._recover(error)
        else:
            self._apply(Event.OPENED)

    async def _recover(self, error: CameraLost) -> None:
        """Climb the ladder until the camera is back."""
        while True:
            rung, delay_s = self._ladder.next(error)
            self._log.debug("recovering", rung=rung.name, delay_s=delay_s, error=str(error))
            started = asyncio.get_running_loop().time()
            self._retry_at = started + delay_s
            try:
                await asyncio.sleep(delay_s)
                await self._climb(rung)
            except CameraLost as next_error:
                error = next_error
                continue
            duration_s = asyncio.get_running_loop().time() - started
            self._ladder.climbed(rung, duration_s)
            self._log.info("camera back", rung=rung.name, after_s=round(duration_s, 3))
            self._apply(Event.RECOVERED)
            return

    async def _climb(self, rung: Rung) -> None:
        worker = self._worker
        if worker is None or rung >= Rung.RESTART:
            await self._open_with_new_worker()
        elif rung is Rung.SOFT_RETRY:
            await worker.call(m.Recover(), self.options.open_timeout_s)
        else:
            with contextlib.suppress(DriverError):  # a lost device may well refuse to close
                await worker.call(m.Close(), self.options.open_timeout_s)
            await self._open_device(worker)

    async def _open_with_new_worker(self) -> None:
        self._drop_worker("it is replaced")
        if self._closing is not None:
            await asyncio.wait([self._closing], timeout=_CLOSE_S)
        try:
            async with asyncio.timeout(self.options.open_timeout_s):
                worker = await self._take_worker()
        except TimeoutError:
            raise WorkerTimeout("the worker did not start in time") from None
        self._worker = worker
        worker.ended.add_done_callback(lambda _: self._on_worker_ended(worker))
        await self._open_device(worker)

    async def _open_device(self, worker: CameraWorker) -> None:
        command = m.Open(dict(self.options.driver_settings), dict(self._controls), self._notes)
        try:
            answer = await worker.call(command, self.options.open_timeout_s)
        except WorkerTimeout:
            self._drop_worker("its driver hangs in open", dump_stack=True)
            raise
        assert isinstance(answer, m.Opened)
        self.device = answer.device
        self._estimate.guess_s = answer.device.expected_capture_s

    def _lose(self, worker: CameraWorker, error: CameraLost) -> None:
        """The camera failed in `worker`: start climbing, unless a reset has done so already."""
        if worker is not self._worker or self.state not in (State.READY, State.CAPTURING):
            return
        self._note_loss(error)
        if isinstance(error, WorkerTimeout):
            self._drop_worker("its driver hangs", dump_stack=True)
        elif isinstance(error, WorkerLost):
            self._drop_worker("it is lost")
        self._revive(Event.LOST, lambda: self._recover(error))

    def _note_loss(self, error: CameraLost) -> None:
        self.fault = CameraUnavailable(str(error))
        self._log.warning("camera lost", error=str(error))

    def _fault(self, fault: DriverFault) -> None:
        self.fault = CameraFaulted(str(fault))
        self._log.error("camera faulted", error=str(fault))
        self._drop_worker("the camera is faulted")
        self._apply(Event.FAULT)

    def _on_worker_ended(self, worker: CameraWorker) -> None:
        if worker is self._worker and self.state is State.READY:
            self._lose(worker, WorkerLost("the worker ended while the camera was idle"))

    def _drop_worker(self, why: str, *, dump_stack: bool = False) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            self._notes = worker.notes
            worker.kill(why, dump_stack=dump_stack)

    async def _end_revival(self) -> None:
        if self._revival is not None:
            self._revival.cancel()
            await asyncio.gather(self._revival, return_exceptions=True)

    def _plan_idle_close(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self.options.idle_close_s:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self.options.idle_close_s, self._close_idle)

    def _close_idle(self) -> None:
        worker = self._worker
        if self.state is State.READY and self._admission.idle and worker is not None:
            self._log.info("camera closed", idle_s=self.options.idle_close_s)
            self._worker, self._notes = None, worker.notes
            self._apply(Event.CLOSE)
            self._closing = asyncio.create_task(self._close_device(worker))

    async def _close_device(self, worker: CameraWorker) -> None:
        with contextlib.suppress(CameraLost, DriverFault):
            await worker.call(m.Close(), _CLOSE_S)
        self._notes = worker.notes
        worker.kill("the camera was closed")

    def _apply(self, event: Event) -> None:
        self.state = lifecycle.apply(self.state, event)
        self.state_time_ns = time.time_ns()
        if self.state is State.READY:
            self.fault = None
            self._retry_at = 0.0
        self._changed.set()
        self._changed = asyncio.Event()
        for callback in self.on_state:
            callback(self.state)

    def _own(self, task: "asyncio.Task[object]") -> None:
        """Keep a task until it ends; its failure is the waiting client's, when there is one."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda t: t.cancelled() or t.exception())


def _exposure_s(controls: Mapping[str, ControlValue]) -> float:
    value = controls.get("exposure_duration_us", 0)
    return value / 1e6 if isinstance(value, int | float) and value > 0 else 0.0
