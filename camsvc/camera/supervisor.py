"""One camera's state: brings the camera to READY and back there.

Invariants:

- `state` changes only in `_apply`, by the table of `lifecycle`.
- At most one revival (an opening or a recovery) changes the state; it ends in READY or FAULTED.
- What a worker reports that is not the camera's any more changes nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from camsvc.camera.observer import CameraObserver
from camsvc.camera.ports import CameraWorker
from camsvc.camera.recovery import RecoverySteps, Step
from camsvc.camera.worker_slot import WorkerSlot
from camsvc.ipc import messages as m
from camsvc.model import lifecycle
from camsvc.model.errors import (
    CameraFaulted,
    CameraLost,
    CameraServiceError,
    CameraUnavailable,
    DeviceAway,
    DeviceInUse,
    DriverFault,
    WorkerLost,
    WorkerTimeout,
)
from camsvc.model.health import Health
from camsvc.model.lifecycle import Event, State
from camsvc.model.options import CameraOptions
from camsvc.model.retry_hint import recovery_s
from camsvc.model.values import DeviceInfo, LiveVariant
from camsvc.system.event_loop import loop_time

_IN_USE = (State.READY, State.CAPTURING)


class Supervisor:
    """Owns a camera's state. Every method must be called on the event loop."""

    def __init__(
        self,
        options: CameraOptions,
        take_worker: Callable[[], Awaitable[CameraWorker]],
        observers: Sequence[CameraObserver],
    ) -> None:
        self._options = options
        self._observers = observers
        self.state = State.CLOSED
        self.state_time_ns = time.time_ns()
        self.fault: CameraServiceError | None = None
        """Why the camera is not ready, where something has failed."""
        self.controls = dict(options.controls)
        """What is set after each opening."""
        self.steps = RecoverySteps()
        self.failures = 0
        """How often it failed since it last worked."""
        self._slot = WorkerSlot(
            options, take_worker, self.controls, observers, self._on_worker_ended
        )
        self._revivals: set[asyncio.Task[None]] = set()
        """The one under way, and those it replaces for as long as they take to end."""
        self._retry_at = 0.0
        self._changed = asyncio.Event()
        self._log = structlog.get_logger().bind(camera=options.id)

    @property
    def device(self) -> DeviceInfo | None:
        """What was opened last."""
        return self._slot.device

    @property
    def worker_pid(self) -> int:
        """The worker's process; 0: there is none."""
        return self._slot.worker.pid if self._slot.worker is not None else 0

    @property
    def worker_starts(self) -> int:
        """How many workers have been asked to open the device."""
        return self._slot.starts

    # For the calls of the camera.

    async def ready(self, not_before: float = 0.0) -> CameraWorker:
        """Wait until the camera is ready, and until `not_before`; open it when it is closed.

        `not_before` is in the event loop's time, and counts as a part of the open time-out.

        Raises:
            CameraFaulted: it needs an operator.
            CameraUnavailable: it is away.
            TimeoutError: it was not ready within its open time-out.
        """
        async with asyncio.timeout(self._options.open_timeout_s):
            await asyncio.sleep(not_before - loop_time())
            while True:
                changed, worker = self._changed, self._slot.worker
                if self.state is State.READY and worker is not None:
                    return worker
                self._raise_if_lasting()
                self.open()
                await changed.wait()

    def begin_capture(self) -> None:
        """The ready camera takes a still."""
        self._apply(Event.CAPTURE)

    def end_capture(self) -> None:
        """It does so no longer; without effect when it was lost meanwhile."""
        if self.state is State.CAPTURING:
            self._apply(Event.CAPTURED)
            worker = self._slot.worker
            if worker is not None and not worker.alive:  # it ended while its picture was saved
                self._on_worker_ended(worker)

    def on_worker_failed(self, worker: CameraWorker, error: CameraLost | DriverFault) -> None:
        """Recover the camera, or stop trying where an operator must act.

        Without effect when that has begun, and for a worker of the past.
        """
        if worker is not self._slot.worker or self.state not in _IN_USE:
            return
        if isinstance(error, DriverFault):
            self._fault_camera(error)
            return
        self._note_cause(error)
        if isinstance(error, WorkerTimeout):
            self._slot.drop("its driver hangs", dump_stack=True)
        elif isinstance(error, WorkerLost):
            self._slot.drop("it is lost")
        self._revive(Event.LOST, lambda: self._recover(error, device_open=True))

    def confirm_working(self) -> None:
        """The camera works: the next failure begins with the first recovery step."""
        self.steps.reset()
        self._count_failures(0)

    def raise_if_unavailable(self) -> None:
        """Refuse at once while the camera is faulted, away, or only waits for its next try.

        Raises:
            CameraFaulted, CameraUnavailable: it is.
        """
        self._raise_if_lasting()
        left_s = self._retry_at - loop_time()
        if self.state is State.RECOVERING and left_s > 0:
            raise self.unavailable(
                f"is recovering; the next try is in {left_s:.1f} s ({self.fault})"
            )

    def _raise_if_lasting(self) -> None:
        if self.state is State.FAULTED:
            raise self.refusal()
        if self.state is State.AWAY:
            raise self.unavailable(f"is away: {self.fault}")

    def refusal(self) -> CameraFaulted:
        """Return the error of a faulted camera."""
        return CameraFaulted(
            f"camera {self._options.id!r} needs an operator: {self.fault}",
            metadata={"camera": self._options.id},
        )

    def unavailable(self, why: str, **metadata: str) -> CameraUnavailable:
        """Return the error of a camera that is worth coming back to, and when."""
        back_off_s = max(0.0, self._retry_at - loop_time())
        return CameraUnavailable(
            f"camera {self._options.id!r} {why}",
            retry_after_s=recovery_s(
                back_off_s, self.steps.longest_s, self._options.open_timeout_s
            ),
            metadata={"camera": self._options.id, **metadata},
        )

    # For live view: this is its `live.ports.LiveSource`.

    def set_live_variants(self, variants: Sequence[LiveVariant]) -> None:
        """Have frames read; an opening camera begins when it is ready."""
        if self._slot.worker is not None and self.state in _IN_USE:
            self._slot.worker.send(m.SetLive(list(variants)))
        if not variants:
            for observer in self._observers:
                observer.on_use_ended()

    def on_live_failed(self, error: CameraLost | DriverFault) -> None:
        """Recover the ready camera, or stop trying, as it has stopped delivering frames."""
        if self._slot.worker is not None:
            self.on_worker_failed(self._slot.worker, error)

    # For operators, and the ends of the camera's life.

    def open(self) -> None:
        """Begin opening a closed camera in the background."""
        if self.state is State.CLOSED:
            self._revive(Event.OPEN, self._open_first)

    async def reset(self) -> None:
        """Kill the worker, forget a fault and open the camera again.

        A capture under way loses its attempt.

        Raises:
            CameraUnavailable: it is not open within its open time-out; it goes on trying.
            CameraFaulted: it needs an operator.
        """
        self._log.info("camera reset")
        if self.state is State.CAPTURING and self._slot.worker is not None:
            self._slot.worker.kill("the camera was reset")  # the capture's own attempts go on
        else:
            self._slot.drop("the camera was reset")
            self.steps.reset()
            self._revive(Event.RESET, self._open_first)
        try:
            await self.ready()
        except TimeoutError:
            limit_s = self._options.open_timeout_s
            raise self.unavailable(f"was not open again within {limit_s:g} s") from None

    def close_idle(self) -> None:
        """Close a ready camera in the background; the next use opens it again."""
        if self.state is State.READY:
            self._log.info("camera closed", idle_s=self._options.idle_close_s)
            self._slot.close_in_background()
            self._apply(Event.CLOSE)

    async def close(self) -> None:
        """End everything, the device politely when it answers."""
        if revivals := self._cancel_revivals():
            await asyncio.wait(revivals)
        if self.state is not State.READY:
            self._slot.drop("the service ends")
        await self._slot.close()
        if self.state is not State.CLOSED:
            self._apply(Event.CLOSE)

    # Revivals.

    def _revive(self, event: Event, revive: Callable[[], Awaitable[None]]) -> None:
        """Begin an opening or a recovery, in the place of any that is under way.

        That one is cancelled in the same step, so that nothing of it comes after what replaces it;
        the new one begins when it has ended.
        """
        replaced = self._cancel_revivals()
        self._apply(event)
        name = f"{self._options.id} {event.value}"
        task = asyncio.create_task(self._revived(revive, replaced), name=name)
        self._revivals.add(task)
        task.add_done_callback(self._revivals.discard)

    def _cancel_revivals(self) -> "set[asyncio.Task[None]]":
        """Cancel each once, as it may be cleaning up; return those that have yet to end."""
        for task in self._revivals:
            if not task.cancelling():
                task.cancel()
        return set(self._revivals)

    async def _revived(
        self, revive: Callable[[], Awaitable[None]], replaced: "set[asyncio.Task[None]]"
    ) -> None:
        """Own an opening or a recovery: it ends in READY or FAULTED, or is cancelled."""
        if replaced:
            await asyncio.wait(replaced)
        try:
            await revive()
        except DriverFault as fault:
            self._fault_camera(fault)
        except CameraServiceError as error:  # the settings' own controls are refused
            self._fault_camera(DriverFault(f"the settings' {error}"))
        except Exception:
            self._log.exception("unhandled exception")
            why = "an internal error, see the service's log; reset the camera"
            self._fault_camera(DriverFault(why))

    async def _open_first(self) -> None:
        try:
            await self._slot.replace()
        except CameraLost as error:
            self._note_cause(error)
            self._apply(Event.AWAY if self._is_away(error) else Event.LOST)
            await self._recover(error, device_open=False)
        else:
            self._apply(Event.OPENED)

    async def _recover(self, error: CameraLost, *, device_open: bool) -> None:
        """Take one recovery step after the other until the camera is back."""
        while True:
            step, delay_s = self.steps.next(error, device_open=device_open, now=loop_time())
            self._log.debug("recovering", step=step.name, delay_s=delay_s, error=str(error))
            started = loop_time()
            self._retry_at = started + delay_s
            if step is Step.BACK_OFF:
                how = "is away" if self.state is State.AWAY else "is recovering"
                self._report_unavailable(self.unavailable(f"{how}: {error}"))
            try:
                await asyncio.sleep(delay_s)
                await self._take(step, error)
            except CameraLost as next_error:
                self.steps.record(step, loop_time() - started)
                away = self._is_away(next_error)
                if not (away and isinstance(error, DeviceAway) and step is Step.REOPEN):
                    error = next_error  # else it was unplugged, and the look says only: not here
                self._note_cause(error)
                if away is not (self.state is State.AWAY):
                    self._apply(Event.AWAY if away else Event.LOST)
                device_open = device_open and step is Step.SOFT_RETRY
            else:
                duration_s = loop_time() - started
                self.steps.record(step, duration_s)
                self._log.info("camera back", step=step.name, after_s=round(duration_s, 3))
                self._apply(Event.RECOVERED)
                return

    async def _take(self, step: Step, error: CameraLost) -> None:
        worker = self._slot.worker
        process_lost = isinstance(error, WorkerLost | WorkerTimeout)
        if worker is None or step is Step.RESTART or process_lost:
            await self._slot.replace()
        elif step is Step.SOFT_RETRY:
            await worker.call(m.Recover(), self._options.open_timeout_s)
        else:
            await self._slot.reopen(worker)

    # Internals.

    def _is_away(self, error: CameraLost) -> bool:
        """Whether the device is. One in use may be held by a worker that was just killed."""
        held = isinstance(error, DeviceInUse) and self._slot.may_hold_device
        return isinstance(error, DeviceAway) and not held

    def _on_worker_ended(self, worker: CameraWorker) -> None:
        if self.state is State.READY:  # otherwise the call under way fails by it
            self.on_worker_failed(worker, WorkerLost("the worker ended while the camera was idle"))

    def _note_cause(self, error: CameraLost) -> None:
        """Note why the camera is not there; each change of it is one line of the log."""
        if self.fault is None or str(error) != str(self.fault):
            self._log.warning("camera lost", error=str(error))
        self.fault = CameraUnavailable(str(error))
        if not isinstance(error, DeviceAway):
            self._count_failures(self.failures + 1)

    def _count_failures(self, failures: int) -> None:
        before, self.failures = Health.of(self.failures), failures
        if (now := Health.of(failures)) is not before:
            self._log.warning("camera health changed", health=now.value, failures=failures)
            for observer in self._observers:
                observer.on_health_changed(self._options.id, now)

    def _fault_camera(self, fault: DriverFault) -> None:
        self.fault = CameraFaulted(str(fault))
        self._report_unavailable(self.fault)
        self._log.error("camera faulted", error=str(fault))
        self._slot.drop("the camera is faulted")
        self._apply(Event.FAULT)

    def _apply(self, event: Event) -> None:
        self.state = lifecycle.apply(self.state, event)
        self.state_time_ns = time.time_ns()
        if self.state is State.READY:
            self.fault = None
            self._retry_at = 0.0
        self._changed.set()
        self._changed = asyncio.Event()
        for observer in self._observers:
            observer.on_state_changed(self._options.id, self.state)

    def _report_unavailable(self, error: CameraServiceError) -> None:
        for observer in self._observers:
            observer.on_unavailable(error)
