"""What a camera needs of the rooms around it: its options, a worker, an archive."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from camsvc.ipc import messages as m
from camsvc.ipc.messages import AnswerT, ImageInfo
from camsvc.model.records import CaptureRecord, EventRecord
from camsvc.model.values import ControlValue
from camsvc.worker_pool.observer import WorkerObserver


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
    stall_timeout_s: float = 2.0
    max_viewers: int = 64

    def worst_case_s(self, exposure_s: float = 0.0) -> float:
        """Return the longest a capture may take: every attempt in full, each after an opening."""
        return self.attempts * (self.open_timeout_s + self.attempt_timeout_s + exposure_s)


class CameraWorker(Protocol):
    """What a camera needs of a worker; `worker_pool.process.WorkerProcess` is one."""

    @property
    def notes(self) -> bytes: ...
    def attach(self, camera: str, observer: WorkerObserver) -> None: ...
    async def call(self, command: m.Command[AnswerT], timeout_s: float) -> AnswerT: ...
    def take_image(self, image: ImageInfo) -> bytes | None: ...
    def kill(self, why: str, *, dump_stack: bool = False) -> None: ...
    def send(self, notice: m.Notice) -> None: ...
    def take_live(self, images: Sequence[m.LiveImage]) -> list[bytes]: ...
    async def wait_ended(self) -> None: ...


class CaptureArchive(Protocol):
    """What a camera needs of an archive; `archive.Archive` is one."""

    def staging_path(self, capture_id: str, attempt: int) -> str: ...
    def discard(self, staged: str) -> None: ...
    async def find_by_request_id(self, camera: str, request_id: str) -> CaptureRecord | None: ...
    async def wait_for_backlog(self) -> None: ...
    def begin(self, record: CaptureRecord, event: EventRecord | None) -> None: ...
    def note(self, event: EventRecord) -> None: ...
    async def succeed(self, record: CaptureRecord, staged: str) -> CaptureRecord: ...
    def end(self, record: CaptureRecord) -> "asyncio.Future[None]": ...
