"""The actor of one camera: what clients may ask of it, and what they are shown.

Invariants:

- Every public coroutine ends in bounded time, whatever the worker does; see `calls`.
- Of one request id there is at most one capture under way, and at most one kept.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from camsvc.camera.barrier import Meeting
from camsvc.camera.capture import CaptureJob, Order, Taken
from camsvc.camera.executor import Calls, Job
from camsvc.camera.ports import CameraOptions, CameraWorker, CaptureArchive
from camsvc.camera.queue import Turn
from camsvc.camera.recovery import Rung, RungStatistics
from camsvc.camera.supervisor import Supervisor
from camsvc.ipc import messages as m
from camsvc.live.feed import LiveFeed
from camsvc.live.variants import LiveSpec
from camsvc.live.viewer import LiveFrame
from camsvc.model.errors import (
    CameraBusy,
    CameraServiceError,
    CaptureTimeout,
    InvalidRequest,
    QueueFull,
    RequestIdReused,
    Unsupported,
)
from camsvc.model.lifecycle import State
from camsvc.model.records import CaptureState, EventRecord, EventType, Failure, fingerprint
from camsvc.model.values import Control, ControlValue

EXPOSURE = "exposure_duration_us"
_LONGEST_EXPOSURE_S = 86_400.0
"""The most time that an exposure asked for adds to a call's bound: only the camera knows what it
takes, and before it has refused an absurd value, others are told when this call should end."""


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
        self,
        options: CameraOptions,
        take_worker: Callable[[], Awaitable[CameraWorker]],
        archive: CaptureArchive,
    ) -> None:
        self.options = options
        self.supervisor = Supervisor(options, take_worker)
        self.supervisor.on_away = self._note_away
        self.supervisor.on_state.append(self._note_back)
        self._archive = archive
        self._jobs: dict[str, CaptureJob] = {}
        """Captures under way, by request id."""
        self.kept = 0
        """Pictures kept so far: while this stays, what the archive has been asked still holds."""
        self._away = False
        self._idle_timer: asyncio.TimerHandle | None = None
        self.live = LiveFeed(
            self.supervisor,
            camera=options.id,
            stall_timeout_s=options.stall_timeout_s,
            max_viewers=options.max_viewers,
        )
        self.live.on_empty = self._plan_idle_close
        self._calls = Calls(options, self.supervisor, self.live)
        self._calls.on_end = self._plan_idle_close
        self.statistics = CameraStatistics(recoveries=self.supervisor.ladder.statistics)

    # What clients ask for.

    async def capture(self, order: Order, timeout_s: float | None = None) -> Taken:
        """Take a still within `timeout_s`, or without it within the camera's worst case.

        When the order waits, the worst cases of the captures ahead come on top.

        Raises:
            CameraBusy, QueueFull: another capture is under way.
            CameraUnavailable: recovering, or the attempts are used up.
            CameraFaulted: an operator must act.
            CaptureTimeout: the time is over.
            StorageFull: there is no room for a picture.
            RequestIdReused: the request id stands for another request.
            Unsupported, InvalidRequest: by the driver.
        """
        while True:
            kept = self.kept
            taken = await self.find(order, timeout_s)
            if taken is not None:
                return taken
            if kept == self.kept:
                return await self.result(self.enter(order, timeout_s), timeout_s)

    async def find(self, order: Order, timeout_s: float | None = None) -> Taken | None:
        """Return what an order's request id has led to; None: it has to be taken.

        The answer is out of date as soon as `kept` has changed.

        Raises:
            RequestIdReused, StorageFull, CaptureTimeout.
        """
        with self._refusing(order):
            if self._under_way(order) is not None:
                return None  # to join it needs no room on the disk
            try:
                async with asyncio.timeout(self._bounded(timeout_s, self.worst_case_s())):
                    await self._archive.wait_for_backlog()
                    record = await self._archive.find_by_request_id(
                        self.options.id, order.request_id
                    )
            except TimeoutError:
                raise CaptureTimeout(
                    f"camera {self.options.id!r}: the service's disk did not answer in time",
                    metadata={"camera": self.options.id},
                ) from None
            if record is None:
                return None
            self._refuse_reuse(order, record.fingerprint, record.capture_id)
            return Taken(record, replayed=True)

    def enter(
        self, order: Order, timeout_s: float | None = None, meeting: Meeting | None = None
    ) -> CaptureJob:
        """Begin a capture, or join the one under way with the same request id.

        Raises: as `capture`, what refuses it at once.
        """
        deadline = asyncio.get_running_loop().time() + self._bounded(timeout_s, float("inf"))
        with self._refusing(order):
            job = self._under_way(order)
            if job is not None:
                self._refuse_reuse(order, job.fingerprint, job.turn.id)
                job.turn.deadline = max(job.turn.deadline, deadline)
                return job
            self.supervisor.refuse_when_hopeless()
            exposure_s = _exposure_s(order.shot.controls) or self._exposure_s
            turn = Turn(str(uuid.uuid4()), order.request_id, extra_s=exposure_s, deadline=deadline)
            self._calls.line.enter(turn, wait=order.wait)
        return self._begin(order, turn, meeting)

    async def result(self, job: CaptureJob, timeout_s: float | None = None) -> Taken:
        """Wait for a capture that was begun.

        Raises: as `capture`.
        """
        replayed, job.asked = job.asked, True
        give_up_at = asyncio.get_running_loop().time() + self._bounded(timeout_s, job.worst_s)
        try:
            taken = await self._calls.result(job, timeout_s)
        except CameraServiceError:
            if job.kept is not None:  # whoever is told of it finds it in the history
                left_s = give_up_at - asyncio.get_running_loop().time()
                await asyncio.wait([job.kept], timeout=max(0.0, left_s))
            raise
        return Taken(taken.record, taken.data, replayed)

    async def list_controls(self, timeout_s: float | None = None) -> list[Control]:
        """Return the controls with their present values. Errors as `capture`, but never busy."""
        return await self._control_call(m.ListControls(), timeout_s)

    async def set_controls(
        self, values: Mapping[str, ControlValue], timeout_s: float | None = None
    ) -> list[Control]:
        """Set controls, also again after each recovery; return all as they are then."""
        controls = await self._control_call(m.SetControls(dict(values)), timeout_s)
        self.supervisor.controls |= values
        return controls

    async def get_frame(
        self, spec: LiveSpec, max_age_s: float | None, timeout_s: float | None
    ) -> LiveFrame:
        """Return one live frame; see `LiveFeed.frame`. Never busy."""
        bound_s = self._bounded(timeout_s, self.worst_case_s())
        return await self.live.frame(spec, max_age_s=max_age_s, timeout_s=bound_s)

    async def reset(self) -> None:
        """Give the camera a new worker; see `Supervisor.reset`."""
        await self.supervisor.reset()

    def prepare_to_stop(self) -> None:
        """End the viewers' streams, and blame nobody else for calls that end from now on."""
        self._calls.stopping = True
        self.live.end_streams()

    async def close(self) -> None:
        """End everything; for the end of the service. A picture that is there is still kept."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        await self._calls.close()
        await self.live.close()
        await self.supervisor.close()

    # What clients are shown.

    @property
    def active(self) -> Turn | None:
        """The capture under way."""
        holder = self._calls.line.holder
        return holder if holder is not None and holder.started else None

    @property
    def queued(self) -> int:
        """How many captures wait."""
        return self._calls.line.queued

    def expected_end_ns(self, turn: Turn) -> int:
        """Return when a capture should end, in nanoseconds since the epoch."""
        left_s = self._calls.line.expected_end(turn) - asyncio.get_running_loop().time()
        return time.time_ns() + int(left_s * 1e9)

    def worst_case_s(self, exposure_s: float = 0.0) -> float:
        """Return the longest a capture may take: every attempt in full, each after an opening."""
        return self.options.worst_case_s(max(exposure_s, self._exposure_s))

    # Small steps.

    @property
    def _exposure_s(self) -> float:
        """What the camera is set to expose for, here or on its body."""
        device = self.supervisor.device
        own_us = device.exposure_us if device is not None else None
        return max(_exposure_s(self.supervisor.controls), _exposure_s({EXPOSURE: own_us or 0}))

    def _under_way(self, order: Order) -> CaptureJob | None:
        """Return the capture under way that an order can join."""
        job = self._jobs.get(order.request_id)
        return None if job is None or job.dropped else job

    def _begin(self, order: Order, turn: Turn, meeting: Meeting | None) -> CaptureJob:
        worst_s = self.worst_case_s(turn.extra_s) * max(1, self._calls.line.captures)
        job = CaptureJob(self.options.id, order, turn, worst_s, meeting)

        def ended(state: CaptureState, error: BaseException | None) -> None:
            if self._jobs.get(order.request_id) is job:
                del self._jobs[order.request_id]
            self._count(turn, state, error)

        job.on_ended = ended
        if order.request_id:
            self._jobs[order.request_id] = job
        job.begin(self._calls, self._archive)
        return job

    def _count(self, turn: Turn, state: CaptureState, error: BaseException | None) -> None:
        statistics = self.statistics
        if state is CaptureState.SUCCEEDED:
            self.kept += 1
            statistics.captures_succeeded += 1
            statistics.capture_s_total += asyncio.get_running_loop().time() - turn.entered
            statistics.consecutive_failures = 0
        elif state is CaptureState.FAILED and not isinstance(error, InvalidRequest | Unsupported):
            statistics.captures_failed += 1
            statistics.consecutive_failures += 1

    @contextlib.contextmanager
    def _refusing(self, order: Order) -> Iterator[None]:
        """Count and note what refuses an order before it is a capture."""
        try:
            yield
        except CameraServiceError as error:
            self.statistics.captures_rejected += 1
            self.statistics.captures_busy += isinstance(error, CameraBusy | QueueFull)
            self._note(EventType.REJECTED, error, request_id=order.request_id)
            raise

    def _refuse_reuse(self, order: Order, known: str, capture_id: str) -> None:
        if known != fingerprint(order.shot, order.labels):
            raise RequestIdReused(
                f"request id {order.request_id!r} stands for capture {capture_id!r}, which was "
                "asked for with another image, controls or labels; send the same ones, or a new id",
                metadata={
                    "camera": self.options.id,
                    "request_id": order.request_id,
                    "capture_id": capture_id,
                },
            )

    async def _control_call(
        self, command: m.Command[m.Controls], timeout_s: float | None
    ) -> list[Control]:
        self.supervisor.refuse_when_hopeless()
        job = Job[list[Control]](Turn(str(uuid.uuid4()), is_capture=False), self.worst_case_s())

        async def work(worker: CameraWorker) -> list[Control]:
            answer = await self._calls.call(job.turn, worker, command)
            return answer.controls

        async def run() -> list[Control]:
            await self._calls.line.reach_front(job.turn)
            return await self._calls.attempt(job, work)

        self._calls.line.enter(job.turn, wait=True)
        self._calls.start(job, run())
        return await self._calls.result(job, timeout_s)

    @staticmethod
    def _bounded(timeout_s: float | None, worst_s: float) -> float:
        return worst_s if timeout_s is None else min(timeout_s, worst_s)

    def _note_away(self, error: CameraServiceError) -> None:
        self._calls.away()
        if not self._away:
            self._away = True
            self._note(EventType.CAMERA_UNAVAILABLE, error)

    def _note_back(self, state: State) -> None:
        if self._away and state is State.READY:
            self._away = False
            self._note(EventType.CAMERA_AVAILABLE)

    def _note(
        self, kind: EventType, error: CameraServiceError | None = None, request_id: str = ""
    ) -> None:
        failure = Failure.of(error) if error is not None else None
        self._archive.note(
            EventRecord(
                kind, time.time_ns(), self.options.id, request_id=request_id, failure=failure
            )
        )

    def _plan_idle_close(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self.options.idle_close_s:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self.options.idle_close_s, self._close_idle)

    def _close_idle(self) -> None:
        if not self._calls.line.idle or self.live.watched:
            return
        if self.supervisor.state in (State.OPENING, State.RECOVERING):
            self._plan_idle_close()  # whoever wanted it has left before it was ready
        else:
            self.supervisor.close_idle()


def _exposure_s(controls: Mapping[str, ControlValue]) -> float:
    value = controls.get(EXPOSURE, 0)
    if not isinstance(value, int | float) or value <= 0:
        return 0.0
    return min(value / 1e6, _LONGEST_EXPOSURE_S)
