"""One camera's worker and state: brings the camera to READY and back there.

Invariants:

- The state changes only in `_apply`, by the table of `lifecycle`.
- At most one revival (an opening or a recovery) is under way; it ends in READY or FAULTED.
- A worker that is given up is killed at once, and never called again.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import structlog

from camsvc.camera.ports import CameraOptions, CameraWorker
from camsvc.camera.recovery import Ladder, Rung
from camsvc.ipc import messages as m
from camsvc.model import lifecycle
from camsvc.model.errors import (
    CameraFaulted,
    CameraLost,
    CameraServiceError,
    CameraUnavailable,
    DriverError,
    DriverFault,
    WorkerLost,
    WorkerTimeout,
)
from camsvc.model.lifecycle import Event, State
from camsvc.model.values import DeviceInfo
from camsvc.worker_pool.observer import WorkerObserver

_CLOSE_S = 2.0
"""How long a device may take to close before its worker is killed."""


_GONE_S = 1.0
"""How long a killed worker may take to go before the next one tries to open the device, which the
other may still hold. In the middle of a kernel call it may go later, or never."""


class Supervisor:
    """Holds a camera's worker. Every method must be called on the event loop."""

    def __init__(
        self, options: CameraOptions, take_worker: Callable[[], Awaitable[CameraWorker]]
    ) -> None:
        self._options = options
        self._take_worker = take_worker
        self.state = State.CLOSED
        self.state_time_ns = time.time_ns()
        self.fault: CameraServiceError | None = None
        self.device: DeviceInfo | None = None
        self.on_state: list[Callable[[State], None]] = []
        self.on_away: Callable[[CameraServiceError], None] = lambda error: None
        """Told when the camera does not come back soon: it has to be waited for, or an operator."""
        self.on_live: Callable[[CameraWorker, m.LiveEvent], None] = lambda worker, event: None
        self.on_progress: Callable[[int], None] = lambda percent: None
        self.controls = dict(options.controls)
        """Set after each opening; whoever sets controls keeps them here."""
        self.ladder = Ladder()
        self.worker_starts = 0
        self._worker: CameraWorker | None = None
        self._dropped: CameraWorker | None = None
        """The worker before, whose process may not have ended."""
        self._notes = b""
        self._revivals: set[asyncio.Task[None]] = set()
        """The one under way, and those it replaces for as long as they take to end."""
        self._retry_at = 0.0
        self._closing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._log = structlog.get_logger().bind(camera=options.id)

    # For whoever uses the camera.

    async def ready(self) -> CameraWorker:
        """Wait until the camera is ready, opening it when it is closed.

        Raises:
            CameraFaulted: it needs an operator.
            TimeoutError: it was not ready within its open time-out.
        """
        async with asyncio.timeout(self._options.open_timeout_s):
            while True:
                changed = self._changed
                if self.state is State.READY:
                    assert self._worker is not None
                    return self._worker
                if self.state is State.FAULTED:
                    raise self.refusal()
                self.open()
                await changed.wait()

    def begin_capture(self) -> None:
        """Note that the ready camera takes a still."""
        self._apply(Event.CAPTURE)

    def end_capture(self) -> None:
        """Note that it does so no more; without effect when it was lost meanwhile."""
        if self.state is State.CAPTURING:
            self._apply(Event.CAPTURED)

    def lose(self, worker: CameraWorker, error: CameraLost) -> None:
        """Start climbing the ladder, as `worker` failed; without effect when that has begun."""
        if worker is not self._worker or self.state not in (State.READY, State.CAPTURING):
            return
        self._note_loss(error)
        if isinstance(error, WorkerTimeout):
            self._drop_worker("its driver hangs", dump_stack=True)
        elif isinstance(error, WorkerLost):
            self._drop_worker("it is lost")
        self._revive(Event.LOST, lambda: self._recover(error, device_open=True))

    def tell(self, command: m.SetLive) -> None:
        """Send the worker what needs no answer; an opening camera is told when it is ready."""
        if self._worker is not None and self.state in (State.READY, State.CAPTURING):
            self._worker.send(command)

    def stall(self, error: WorkerTimeout) -> None:
        """Start climbing the ladder: the ready camera has stopped to deliver frames."""
        if self._worker is not None:
            self.lose(self._worker, error)

    def give_up(self, fault: DriverFault) -> None:
        """Stop trying: an operator must act."""
        self.fault = CameraFaulted(str(fault))
        self.on_away(self.fault)
        self._log.error("camera faulted", error=str(fault))
        self._drop_worker("the camera is faulted")
        self._apply(Event.FAULT)

    def refuse_when_hopeless(self) -> None:
        """Refuse at once while the camera is faulted or only waits for its next try.

        Raises:
            CameraFaulted, CameraUnavailable: it is.
        """
        if self.state is State.FAULTED:
            raise self.refusal()
        left_s = self._retry_at - asyncio.get_running_loop().time()
        if self.state is State.RECOVERING and left_s > 0:
            raise self.unavailable(
                f"is recovering; the next try is in {left_s:.1f} s ({self.fault})"
            )

    def refusal(self) -> CameraFaulted:
        """Return the error of a faulted camera."""
        return CameraFaulted(
            f"camera {self._options.id!r} needs an operator: {self.fault}",
            metadata={"camera": self._options.id},
        )

    def unavailable(self, why: str, **metadata: str) -> CameraUnavailable:
        """Return the error of a camera that is worth coming back to, and when."""
        back_off_s = max(0.0, self._retry_at - asyncio.get_running_loop().time())
        longest = max((s.last_duration_s for s in self.ladder.statistics.values()), default=0.0)
        return CameraUnavailable(
            f"camera {self._options.id!r} {why}",
            retry_after_s=back_off_s + min(max(longest, 0.5), self._options.open_timeout_s),
            metadata={"camera": self._options.id, **metadata},
        )

    # For operators, and the ends of the camera's life.

    def open(self) -> None:
        """Begin opening a closed camera in the background."""
        if self.state is State.CLOSED:
            self._revive(Event.OPEN, self._open_first)

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
            self.ladder.calm()
            self._revive(Event.RESET, self._open_first)
        try:
            await self.ready()
        except TimeoutError:
            limit_s = self._options.open_timeout_s
            raise self.unavailable(f"was not open again within {limit_s:g} s") from None

    def close_idle(self) -> None:
        """Close a ready camera in the background; the next use opens it again."""
        worker = self._worker
        if self.state is State.READY and worker is not None:
            self._log.info("camera closed", idle_s=self._options.idle_close_s)
            self._worker, self._notes = None, worker.notes
            self._apply(Event.CLOSE)
            self._closing = asyncio.create_task(
                self._close_device(worker), name=f"{self._options.id} close"
            )

    async def close(self) -> None:
        """End everything, the device politely when it answers."""
        await _ended(self._revivals | ({self._closing} if self._closing else set()))
        if self.state is State.READY and self._worker is not None:
            await self._close_device(self._worker)
        self._drop_worker("the service ends")
        if self.state is not State.CLOSED:
            self._apply(Event.CLOSE)

    # Revivals.

    def _revive(self, event: Event, climb: Callable[[], Awaitable[None]]) -> None:
        self._apply(event)
        work = self._revived(climb, set(self._revivals))
        revival = asyncio.create_task(work, name=f"{self._options.id} {event.value}")
        self._revivals.add(revival)
        revival.add_done_callback(self._revivals.discard)

    async def _revived(
        self, climb: Callable[[], Awaitable[None]], previous: "set[asyncio.Task[None]]"
    ) -> None:
        """Own an opening or a recovery: it ends in READY or FAULTED, or is cancelled."""
        await _ended(previous)
        try:
            await climb()
        except DriverFault as fault:
            self.give_up(fault)
        except CameraServiceError as error:  # the settings' own controls are refused
            self.give_up(DriverFault(f"the settings' {error}"))
        except Exception:
            self._log.exception("recovery failed in an unforeseen way")
            self.give_up(DriverFault("an internal error, see the service's log; reset the camera"))

    async def _open_first(self) -> None:
        try:
            await self._open_with_new_worker()
        except CameraLost as error:
            self._note_loss(error)
            self._apply(Event.LOST)
            await self._recover(error, device_open=False)
        else:
            self._apply(Event.OPENED)

    async def _recover(self, error: CameraLost, *, device_open: bool) -> None:
        """Climb the ladder until the camera is back."""
        loop = asyncio.get_running_loop()
        while True:
            rung, delay_s = self.ladder.next(error, device_open=device_open, now=loop.time())
            self._log.debug("recovering", rung=rung.name, delay_s=delay_s, error=str(error))
            started = loop.time()
            self._retry_at = started + delay_s
            if rung is Rung.BACK_OFF:
                self.on_away(self.unavailable(f"is away: {error}"))
            try:
                await asyncio.sleep(delay_s)
                await self._climb(rung, error)
            except CameraLost as next_error:
                self.ladder.climbed(rung, loop.time() - started)
                error = next_error
                self.fault = CameraUnavailable(str(error))
                device_open = device_open and rung is Rung.SOFT_RETRY
                continue
            duration_s = loop.time() - started
            self.ladder.climbed(rung, duration_s)
            self._log.info("camera back", rung=rung.name, after_s=round(duration_s, 3))
            self._apply(Event.RECOVERED)
            return

    async def _climb(self, rung: Rung, error: CameraLost) -> None:
        worker = self._worker
        process_lost = isinstance(error, WorkerLost | WorkerTimeout)
        if worker is None or rung is Rung.RESTART or process_lost:
            await self._open_with_new_worker()
        elif rung is Rung.SOFT_RETRY:
            await worker.call(m.Recover(), self._options.open_timeout_s)
        else:
            with contextlib.suppress(DriverError):  # a lost device may well refuse to close
                await worker.call(m.Close(), self._options.open_timeout_s)
            self._notes = worker.notes
            await self._open_device(worker)

    async def _open_with_new_worker(self) -> None:
        self._drop_worker("it is replaced")
        if self._closing is not None:
            await asyncio.wait([self._closing], timeout=_CLOSE_S)
        if self._dropped is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GONE_S):
                    await self._dropped.wait_ended()
        try:
            async with asyncio.timeout(self._options.open_timeout_s):
                worker = await self._take_worker()
        except TimeoutError:
            raise WorkerTimeout("the worker did not start in time") from None
        self._worker = worker
        worker.attach(self._options.id, _Listener(self, worker))
        self.worker_starts += 1
        await self._open_device(worker)

    async def _open_device(self, worker: CameraWorker) -> None:
        command = m.Open(dict(self._options.driver_settings), dict(self.controls), self._notes)
        try:
            answer = await worker.call(command, self._options.open_timeout_s)
        except WorkerTimeout:
            self._drop_worker("its driver hangs in open", dump_stack=True)
            raise
        self.device = answer.device

    # Small steps.

    def _note_loss(self, error: CameraLost) -> None:
        self.fault = CameraUnavailable(str(error))
        self._log.warning("camera lost", error=str(error))

    def on_worker_ended(self, worker: CameraWorker) -> None:
        """Replace an idle camera's worker, which has ended."""
        if self.state is State.READY:  # else a call is under way, and sees it
            self.lose(worker, WorkerLost("the worker ended while the camera was idle"))

    def has(self, worker: CameraWorker) -> bool:
        """Whether a worker is the camera's, and has not been given up."""
        return worker is self._worker

    def _drop_worker(self, why: str, *, dump_stack: bool = False) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            self._notes = worker.notes
            self._dropped = worker
            worker.kill(why, dump_stack=dump_stack)

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


class _Listener(WorkerObserver):
    """Hands what a worker says to its supervisor, while it is the camera's."""

    def __init__(self, supervisor: Supervisor, worker: CameraWorker) -> None:
        self._supervisor = supervisor
        self._worker = worker

    def on_live_frames(self, frames: m.LiveFrames) -> None:
        if self._supervisor.has(self._worker):
            self._supervisor.on_live(self._worker, frames)

    def on_live_lost(self, failure: m.Failed) -> None:
        if self._supervisor.has(self._worker):
            self._supervisor.on_live(self._worker, m.Lost(failure))

    def on_device_changed(self, device: DeviceInfo) -> None:
        if self._supervisor.has(self._worker):
            self._supervisor.device = device

    def on_progress(self, percent: int) -> None:
        self._supervisor.on_progress(percent)

    def on_ended(self) -> None:
        self._supervisor.on_worker_ended(self._worker)


async def _ended(tasks: "set[asyncio.Task[None]]") -> None:
    """Cancel tasks, each once, as they may be cleaning up; wait until they have ended."""
    for task in tasks:
        if not task.cancelling():
            task.cancel()
    if tasks:
        await asyncio.wait(tasks)
