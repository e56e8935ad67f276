"""One camera: what clients may ask of it, and what it shows of itself.

Invariants:

- Every public coroutine ends in bounded time, whatever the worker does; see `deadline`.
- Of one request id there is at most one capture under way, and at most one kept; see
  `idempotency`.
"""

import contextlib
import dataclasses
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from camsvc.camera.attempts import Attempts, ControlCall
from camsvc.camera.barrier import Barrier
from camsvc.camera.call import Call
from camsvc.camera.camera_events import CameraEvents
from camsvc.camera.capture import Capture, CaptureResult, Order
from camsvc.camera.capture_events import CaptureEvents
from camsvc.camera.deadline import EXPOSURE, Deadline, exposure_s, worst_case_s
from camsvc.camera.executor import Executor
from camsvc.camera.idempotency import RequestIds
from camsvc.camera.idle import IdleTimer
from camsvc.camera.observer import CameraObserver
from camsvc.camera.ports import CameraWorker, CaptureArchive
from camsvc.camera.queue import CaptureQueue, Ticket
from camsvc.camera.refusals import Refusals
from camsvc.camera.resets import Resets
from camsvc.camera.supervisor import Supervisor
from camsvc.camera.view import ActiveCapture, CameraView, CaptureStatistics
from camsvc.ipc import messages as m
from camsvc.live.feed import LiveFeed
from camsvc.live.spec import LiveSpec
from camsvc.live.viewer import LiveFrame, Viewer
from camsvc.model.caller import NOBODY, Caller
from camsvc.model.errors import CameraServiceError
from camsvc.model.fingerprint import fingerprint
from camsvc.model.health import Health
from camsvc.model.options import CameraOptions
from camsvc.model.retry_hint import CaptureTimes
from camsvc.model.values import Control, ControlValue
from camsvc.system.event_loop import loop_time


class Camera:
    """One camera. Every method must be called on the event loop."""

    def __init__(
        self,
        options: CameraOptions,
        take_worker: Callable[[], Awaitable[CameraWorker]],
        archive: CaptureArchive,
        observers: Sequence[CameraObserver] = (),
    ) -> None:
        self._options = options
        self._archive = archive
        self._statistics = CaptureStatistics()
        self._refusals = Refusals(archive, self._statistics)
        self._times = CaptureTimes()
        self._observers = list(observers)
        self._supervisor = Supervisor(options, take_worker, self._observers)
        self._live = _ObservingFeed(
            self._supervisor,
            camera=options.id,
            stall_timeout_s=options.stall_timeout_s,
            max_viewers=options.max_viewers,
        )
        self._queue = CaptureQueue(options.id, options.queue_limit, self._times)
        self._executor = Executor(options.id, self._queue, self._observers)
        self._request_ids = RequestIds(options.id, archive, self._executor)
        self._resets = Resets(options.id, self._supervisor, options.open_timeout_s)
        self._attempts = Attempts(options, self._supervisor, self._live, self._times)
        self._idle = IdleTimer(self._supervisor, self._queue, self._live, options.idle_close_s)
        self._observers += (
            self._live,
            CameraEvents(options.id, archive, self._statistics, self._refusals),
            self._executor,
            self._idle,
        )

    # Public API.

    async def capture(self, order: Order, timeout_s: float | None = None) -> CaptureResult:
        """Take a still within `timeout_s`, or without it within the camera's worst case.

        Where the order waits, the worst cases of the captures ahead come on top.

        Raises:
            CameraBusy, QueueFull: another capture is under way.
            CameraUnavailable: recovering, or the attempts are used up.
            CameraFaulted: an operator must act.
            CaptureTimeout: the time is over.
            StorageFull, StorageUnavailable: no picture can be kept.
            RequestIdReused: the request id stands for another request.
            Unsupported, InvalidRequest: by the driver.
        """
        deadline = self.deadline(order, timeout_s)
        while True:
            saved = self.saved_count
            existing = await self.find_existing(order, deadline)
            if existing is not None:
                return existing
            if saved == self.saved_count:
                return await self.result(self.enqueue(order, deadline), deadline)

    def deadline(self, order: Order, timeout_s: float | None) -> Deadline:
        """Return the one deadline of an order that arrives now."""
        return Deadline.after(timeout_s, self._worst_case_s(exposure_s(order.shot.controls)))

    @property
    def saved_count(self) -> int:
        """How many pictures were kept so far: while this stays, `find_existing` is up to date."""
        return self._statistics.captures_succeeded

    async def find_existing(self, order: Order, deadline: Deadline) -> CaptureResult | None:
        """Return what an order's request id has led to; None: it has to be taken, or joined.

        Raises: as `capture`, what refuses it at once.
        """
        with self._refusing(order):
            if self._request_ids.find_under_way(order) is not None:
                return None  # to join it needs no room on the disk
            kept = await self._request_ids.find_kept(order, deadline)
            if kept is None and self._request_ids.find_under_way(order) is None:
                if not order.wait:  # at once, however long the disk takes to answer
                    self._queue.require_free(order.caller)
                async with deadline.of_disk(self._options.id):
                    await self._archive.require_room(self._options.id)
            return kept

    def enqueue(
        self, order: Order, deadline: Deadline, barrier: Barrier | None = None
    ) -> Call[CaptureResult]:
        """Begin a capture, or join the one under way with the same request id.

        Raises: as `capture`, what refuses it at once.
        """
        with self._refusing(order):
            joined = self._request_ids.find_under_way(order)
            if joined is not None:
                joined.ticket.deadline = max(joined.ticket.deadline, deadline.client_at)
                return joined
            self._supervisor.raise_if_unavailable()
            extra_s = exposure_s(order.shot.controls) or self._exposure_s
            ticket = Ticket(
                order.request_id,
                fingerprint(order.shot, order.labels) if order.request_id else "",
                order.caller,
                in_group=barrier is not None,
                extra_s=extra_s,
                deadline=deadline.client_at,
            )
            moved = self._queue.enter(ticket, wait=order.wait)
        if barrier is not None:
            barrier.add(ticket, deadline)
        camera, archive = self._options.id, self._archive
        call = Capture(
            order,
            ticket,
            queue=self._queue,
            attempts=self._attempts,
            archive=archive,
            events=CaptureEvents(
                archive, self._statistics, camera, ticket, order.labels, refusals=self._refusals
            ),
            barrier=barrier,
        )
        self._executor.add(call, moved)
        return call

    async def result(self, call: Call[CaptureResult], deadline: Deadline) -> CaptureResult:
        """Wait for a capture that was begun.

        Raises: as `capture`.
        """
        replayed = call.was_joined
        result = await self._executor.result(call, deadline)
        return dataclasses.replace(result, replayed=replayed)

    async def list_controls(
        self, timeout_s: float | None = None, caller: Caller = NOBODY
    ) -> list[Control]:
        """Return the controls with their present values. Errors as `capture`, but never busy."""
        return await self._control_call(m.ListControls(), timeout_s, caller)

    async def set_controls(
        self,
        values: Mapping[str, ControlValue],
        timeout_s: float | None = None,
        caller: Caller = NOBODY,
    ) -> list[Control]:
        """Set controls, also again after each recovery; return all as they are then."""
        controls = await self._control_call(m.SetControls(dict(values)), timeout_s, caller)
        self._supervisor.controls |= values
        return controls

    def watch(
        self, spec: LiveSpec, caller: Caller = NOBODY
    ) -> contextlib.AbstractContextManager[Viewer]:
        """Give a viewer of live view; the camera is opened if it is closed.

        Raises:
            QueueFull: there are too many viewers, and no other caller has more of them.
            Unsupported: the camera has no live view.
        """
        return self._live.watch(spec, caller)

    async def get_frame(
        self, spec: LiveSpec, max_age_s: float | None, timeout_s: float | None
    ) -> LiveFrame:
        """Return one live frame; see `LiveFeed.frame`. Never busy."""
        deadline = Deadline.after(timeout_s, self._worst_case_s())
        return await self._live.frame(spec, max_age_s=max_age_s, timeout_s=deadline.limit_s)

    def open(self) -> None:
        """Begin opening the camera, where it is closed."""
        self._supervisor.open()

    async def reset(self) -> None:
        """Give the camera a new worker; see `Resets.reset`."""
        await self._resets.reset(self._times.expected_s + self._exposure_s)

    def view(self) -> CameraView:
        """Return the camera as it is now."""
        supervisor = self._supervisor
        return CameraView(
            id=self._options.id,
            driver=self._options.driver,
            state=supervisor.state,
            state_time_ns=supervisor.state_time_ns,
            fault=supervisor.fault,
            device=supervisor.device,
            queued=self._queue.waiting,
            active=self._active(),
            worst_case_s=self._worst_case_s(),
            failures=supervisor.failures,
            health=Health.of(supervisor.failures),
            worker_pid=supervisor.worker_pid,
            captures=dataclasses.replace(self._statistics, refused=self._statistics.refused.copy()),
            recoveries={s: dataclasses.replace(c) for s, c in supervisor.steps.statistics.items()},
            worker_starts=supervisor.worker_starts,
            live=self._live.statistics.snapshot(),
        )

    def announce_stop(self) -> None:
        """End the viewers' streams, as the service stops."""
        self._executor.stopping = True
        self._live.end_streams()

    async def close(self) -> None:
        """End everything; for the end of the service. A picture that is there is still saved."""
        self._idle.cancel()
        await self._resets.close()
        await self._executor.close()
        self._refusals.close()
        await self._live.close()
        await self._supervisor.close()

    # Internals.

    async def _control_call(
        self, command: m.Command[m.Controls], timeout_s: float | None, caller: Caller
    ) -> list[Control]:
        deadline = Deadline.after(timeout_s, self._worst_case_s())
        self._supervisor.raise_if_unavailable()
        ticket = Ticket(caller=caller, is_capture=False)
        moved = self._queue.enter(ticket, wait=True)
        call = ControlCall(ticket, command, self._queue, self._attempts)
        self._executor.add(call, moved)
        return await self._executor.result(call, deadline)

    def _active(self) -> ActiveCapture | None:
        holder = self._queue.holder
        if holder is None or not holder.started:
            return None
        left_s = self._queue.expected_end(holder) - loop_time()
        end_ns = time.time_ns() + int(left_s * 1e9)
        return ActiveCapture(holder.id, holder.request_id, holder.started_ns, end_ns)

    @property
    def _exposure_s(self) -> float:
        """What the camera is set to expose for, here or on its body."""
        device = self._supervisor.device
        own_us = device.exposure_us if device is not None else None
        return max(exposure_s(self._supervisor.controls), exposure_s({EXPOSURE: own_us or 0}))

    def _worst_case_s(self, exposure_s: float = 0.0) -> float:
        device = self._supervisor.device
        silence_s = device.max_silence_s if device is not None else 0.0
        return worst_case_s(self._options, max(exposure_s, self._exposure_s) + silence_s)

    @contextlib.contextmanager
    def _refusing(self, order: Order) -> Iterator[None]:
        """Report what refuses an order before it is a capture."""
        try:
            yield
        except CameraServiceError as error:
            for observer in self._observers:
                observer.on_rejected(error, order.request_id)
            raise


class _ObservingFeed(LiveFeed, CameraObserver):
    """Live view that hears what its camera reports."""
