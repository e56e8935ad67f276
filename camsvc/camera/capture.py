"""One capture's way, from its order to its picture, or to what is kept instead."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from camsvc.camera.barrier import Meeting
from camsvc.camera.capture_events import CaptureLog
from camsvc.camera.executor import Calls, Job
from camsvc.camera.ports import CameraWorker, CaptureArchive
from camsvc.camera.queue import Turn
from camsvc.ipc import messages as m
from camsvc.model.errors import CameraBusy, CameraServiceError, CameraUnavailable
from camsvc.model.records import CaptureRecord, CaptureState, fingerprint
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


@dataclass(frozen=True, slots=True)
class Taken:
    """A still that is kept. `data` is None where it has to be read from the archive.

    `replayed`: by an earlier call with the same request id.
    """

    record: CaptureRecord
    data: bytes | None = None
    replayed: bool = False


class CaptureJob(Job[Taken]):
    """A capture under way, by whoever asks for it."""

    def __init__(
        self, camera: str, order: Order, turn: Turn, worst_s: float, meeting: Meeting | None
    ) -> None:
        super().__init__(turn, worst_s)
        self._camera = camera
        self._order = order
        self._meeting = meeting
        self.fingerprint = fingerprint(order.shot, order.labels) if order.request_id else ""
        self.asked = False
        """Whether anybody has waited for it before."""
        self.kept: asyncio.Future[None] | None = None
        """Done once it is kept that there is no picture; None while there may be one."""
        self.on_ended: Callable[[CaptureState, BaseException | None], None] = lambda *_: None
        """Told how it has ended, and why where there is no picture."""

    def begin(self, calls: Calls, archive: CaptureArchive) -> None:
        """Begin it; its turn is in the line."""
        turn = self.turn
        record = CaptureRecord(
            capture_id=turn.id,
            camera=self._camera,
            create_time_ns=turn.entered_ns,
            request_id=self._order.request_id,
            fingerprint=self.fingerprint,
            labels=dict(self._order.labels),
        )
        self._calls, self._archive = calls, archive
        self._log = CaptureLog(archive, record, turn)
        self._log.accepted()
        self.on_retry, self.on_failed = self._log.retrying, self._attempt_failed
        self.on_away = self._leave
        if self._meeting is not None:
            self._meeting.expect(turn, self.worst_s)
        calls.start(self, self._take())
        self.task.add_done_callback(self._end)

    async def _take(self) -> Taken:
        await self._calls.line.reach_front(self.turn)
        self._log.started()
        answer, data, staged = await self._calls.attempt(self, self._shoot)
        self.keeping = True
        return Taken(await self._log.succeeded(answer, staged), data)

    async def _shoot(self, worker: CameraWorker) -> tuple[m.Captured, bytes | None, str]:
        """Make one attempt; return the answer, the picture if it is in memory, and its file."""
        turn, order = self.turn, self._order
        if self._meeting is not None and turn.attempts == 1:
            await self._meet(worker, self._meeting)
        staged = self._archive.staging_path(turn.id, turn.attempts)
        comment = json.dumps(dict(order.labels)) if order.labels else ""
        command = m.Capture(order.shot, staged, order.inline_bytes, comment)
        expected_s = self._calls.estimate.seconds + turn.extra_s
        self._calls.hear_progress(self._log.shooting(expected_s))
        self.shot = True
        try:
            answer = await self._calls.call(turn, worker, command)
            return answer, worker.take_image(answer.image), staged
        except BaseException:
            self._archive.discard(staged)
            raise
        finally:
            self._log.shot()

    async def _meet(self, worker: CameraWorker, meeting: Meeting) -> None:
        """Make the camera ready, and wait for the group's others."""
        await self._calls.call(self.turn, worker, m.Prepare(self._order.shot))
        try:
            if self.turn.abandoned:
                self.drop()
                await asyncio.sleep(0)  # where it ends; `reached` may have nobody to wait for
            await meeting.reached(self.turn)
        except asyncio.CancelledError:
            worker.send(m.Unprepare())
            raise

    def _attempt_failed(self, error: CameraUnavailable) -> None:
        self._log.recovering(error)
        self._leave()

    def _leave(self) -> None:
        """Let the group's others go on without it."""
        if self._meeting is not None:
            self._meeting.leave(self.turn)

    def _end(self, task: "asyncio.Task[Taken]") -> None:
        """Keep how it has ended, where there is no picture."""
        self._log.shot()
        self._leave()
        if task.cancelled():
            left = self.turn.abandoned and not self._calls.stopping
            why = "its client left" if left else "the service stopped"
            error: BaseException | None = self._interrupted(why)
        else:
            error = task.exception()
        state = CaptureState.SUCCEEDED
        if error is not None:
            told = error if isinstance(error, CameraServiceError) else self._interrupted("a fault")
            told.metadata.setdefault("camera", self._camera)
            told.metadata.setdefault("capture_id", self.turn.id)
            in_line = task.cancelled() or isinstance(error, CameraBusy)
            state = CaptureState.CANCELLED if in_line else CaptureState.FAILED
            self.kept = self._log.ended(state, told)
        self.on_ended(state, error)

    def _interrupted(self, why: str) -> CameraUnavailable:
        return CameraUnavailable(
            f"camera {self._camera!r}: {why} before there was a picture",
            retry_after_s=0.0,
            metadata={"camera": self._camera, "capture_id": self.turn.id},
        )
