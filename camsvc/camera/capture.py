"""One capture's way: queue, ready, prepare, barrier, shoot, keep."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from camsvc.camera.attempts import Attempts
from camsvc.camera.barrier import Barrier
from camsvc.camera.call import Attempt, Call
from camsvc.camera.capture_events import CaptureEvents
from camsvc.camera.deadline import Deadline
from camsvc.camera.ports import CaptureArchive
from camsvc.camera.queue import CaptureQueue, Ticket
from camsvc.ipc import messages as m
from camsvc.model.caller import NOBODY, Caller
from camsvc.model.errors import CameraServiceError, CameraUnavailable
from camsvc.model.records import CaptureRecord, TakenShot
from camsvc.model.values import Shot


@dataclass(frozen=True, slots=True)
class Order:
    """A still as a client asks for it.

    `inline_bytes` is the largest picture it wants handed over in memory; `wait` whether it waits
    for a busy camera.
    """

    shot: Shot
    request_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    inline_bytes: int = 0
    wait: bool = False
    caller: Caller = NOBODY


@dataclass(frozen=True, slots=True)
class CaptureResult:
    """A still that is kept. `data` is None where it has to be read from the archive.

    `replayed`: by an earlier call with the same request id.
    """

    record: CaptureRecord
    data: bytes | None = None
    replayed: bool = False


class Capture(Call[CaptureResult]):
    """A capture under way, for every client that asks for it by the same request id."""

    def __init__(
        self,
        order: Order,
        ticket: Ticket,
        *,
        queue: CaptureQueue,
        attempts: Attempts,
        archive: CaptureArchive,
        events: CaptureEvents,
        barrier: Barrier | None,
    ) -> None:
        super().__init__(ticket)
        self._order = order
        self._queue = queue
        self._attempts = attempts
        self._archive = archive
        self._events = events
        self._barrier = barrier
        self._earlier_s = 0.0

    async def run(self) -> CaptureResult:
        """Take the still and keep it."""
        await self._queue.wait_for_turn(self.ticket)
        captured, taken, staged = await self._attempts.run(self, self._shoot)
        self.is_saving = True
        record = await self._events.succeeded(self, captured, taken, staged, self._earlier_s)
        return CaptureResult(record, taken.data)

    async def _shoot(self, attempt: Attempt) -> tuple[m.Captured, TakenShot, str]:
        """Make one attempt; return the answer, the files, and the name under which they are."""
        order = self._order
        staged = await self._archive.stage(self.ticket.id, attempt.number, attempt.worker.memory)
        comment = json.dumps(dict(order.labels)) if order.labels else ""
        command = m.Capture(order.shot, comment)
        try:
            if self._barrier is not None and attempt.number == 1:
                await self._meet_others(attempt, self._barrier)
            self.shutter_released = True
            with self._events.shooting(self._queue.expected_s(self.ticket)):
                captured = await attempt.call(command)
            if attempt.number > 1:
                self._earlier_s = attempt.called - self.ticket.started
            self.is_saving = True
            taken = await staged.take(captured, order.shot.format, order.inline_bytes)
        except BaseException:
            self.is_saving = False
            staged.discard()
            raise
        return captured, taken, staged.name

    async def _meet_others(self, attempt: Attempt, barrier: Barrier) -> None:
        """Prepare the camera, and wait for the group's others."""
        await attempt.call(m.Prepare(self._order.shot))
        try:
            if not self.ticket.has_client:  # nothing was released for those that have left
                self.cancel()
                await asyncio.sleep(0)  # where it ends
            # Whoever completes the barrier has it kept by its shot that it has started: now, the
            # journal's thread would come between the triggers.
            if barrier.waits_without(self.ticket):
                self._events.started()
            await barrier.arrive(self.ticket)
        except asyncio.CancelledError:
            attempt.worker.send(m.Unprepare())
            raise

    def bound(self, deadline: Deadline) -> Deadline:
        deadline = deadline.behind(self.ticket.taken_before)
        if self._barrier is not None:
            deadline = deadline.extended(self._barrier.longest_wait_s)
        return deadline

    def on_moved(self) -> None:
        self._events.moved()

    def on_attempt(self) -> None:
        self._events.attempt_began(self.attempts)

    def on_attempt_failed(self, error: CameraUnavailable) -> None:
        self._events.attempt_failed(error)
        self.on_camera_unavailable()

    def on_camera_unavailable(self) -> None:
        if self._barrier is not None:
            self._barrier.withdraw(self.ticket)

    def on_progress(self, percent: int) -> None:
        self._events.progressed(percent)

    def on_end(self, error: CameraServiceError | None) -> None:
        self.on_camera_unavailable()
        if error is not None:
            self.end_saved = self._events.failed(self, error)
