"""One capture's steps as they happen: its record and its events for the archive, and the counts."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from camsvc.camera.call import Call, CallCancelled
from camsvc.camera.ports import CaptureArchive
from camsvc.camera.queue import Ticket
from camsvc.camera.refusals import Refusals
from camsvc.camera.view import CaptureStatistics
from camsvc.ipc import messages as m
from camsvc.model.errors import (
    CameraBusy,
    CameraServiceError,
    InvalidRequest,
    QueueFull,
    Unsupported,
)
from camsvc.model.records import (
    CaptureRecord,
    CaptureState,
    EventRecord,
    EventType,
    Failure,
    TakenShot,
)
from camsvc.system.event_loop import loop_time

_PROGRESS_S = 0.5
"""Least time between two PROGRESS events: each is a row on disk."""


class CaptureEvents:
    """One capture's, from its place in the queue on."""

    def __init__(
        self,
        archive: CaptureArchive,
        statistics: CaptureStatistics,
        camera: str,
        ticket: Ticket,
        labels: Mapping[str, str],
        *,
        refusals: Refusals,
    ) -> None:
        self._archive = archive
        self._refusals = refusals
        self._statistics = statistics
        self._ticket = ticket
        self._record = CaptureRecord(
            capture_id=ticket.id,
            camera=camera,
            create_time_ns=ticket.entered_ns,
            request_id=ticket.request_id,
            fingerprint=ticket.fingerprint,
            labels=dict(labels),
        )
        self._attempt = 0
        self._started = False
        self._timer: asyncio.TimerHandle | None = None
        self._last_percent, self._last_reported = 0, 0.0
        self._last_failure: Failure | None = None
        self._has_events = bool(ticket.position)
        archive.begin(self._record, self._queued() if ticket.position else None)

    def moved(self) -> None:
        """It waits behind more or fewer captures."""
        self._archive.note(self._queued())

    def started(self) -> None:
        """Its camera can do what is asked for, and does; a request that is refused never starts."""
        if not self._started:
            self._started = self._has_events = True
            self._archive.note(self._event(EventType.STARTED))

    def attempt_began(self, number: int) -> None:
        """An attempt begins, from 1 on."""
        self._attempt = number
        if number > 1:
            self._archive.note(replace(self._event(EventType.RETRYING), failure=self._last_failure))

    def attempt_failed(self, error: CameraServiceError) -> None:
        """An attempt has failed."""
        self.started()
        self._last_failure = Failure.of(error)
        self._archive.note(replace(self._event(EventType.RECOVERING), failure=self._last_failure))

    @contextlib.contextmanager
    def shooting(self, expected_s: float) -> Iterator[None]:
        """Report progress by the time that the shot should take, until the driver reports it."""
        begun = loop_time()
        self._last_percent, self._last_reported = 0, begun

        def tick() -> None:
            self._report(min(99, int(100 * (loop_time() - begun) / max(expected_s, 0.001))))
            self._timer = asyncio.get_running_loop().call_later(_PROGRESS_S, tick)

        self._timer = asyncio.get_running_loop().call_later(_PROGRESS_S, tick)
        try:
            yield
        finally:
            self._timer.cancel()

    def progressed(self, percent: int) -> None:
        """The shot has begun (0), or the driver has reported how far it is."""
        self.started()
        if not percent:
            return
        if self._timer is not None:
            self._timer.cancel()
        if loop_time() >= self._last_reported + _PROGRESS_S or percent == 100:
            self._report(percent)

    async def succeeded(
        self,
        call: Call[Any],
        captured: m.Captured,
        taken: TakenShot,
        staged: str,
        earlier_s: float,
    ) -> CaptureRecord:
        """Keep its picture, whose files are staged; return the record.

        `earlier_s` is what its failed attempts took.

        Raises:
            StorageFull, StorageUnavailable: it cannot be kept.
        """
        image, *others = taken.files
        record = replace(
            self._so_far(call),
            image=image,
            others=tuple(others),
            warnings=tuple(captured.warnings),
            acquisition_time_ns=captured.image.acquisition_time_ns,
            exposure_us=captured.image.exposure_us,
            controls=captured.image.controls,
            store_s=taken.store_s,
            driver_s=earlier_s + captured.driver_s + captured.encode_s,
        )
        self._record = await self._archive.succeed(record, staged)
        self._statistics.captures_succeeded += 1
        self._statistics.capture_s_total += loop_time() - self._ticket.entered
        return self._record

    def failed(self, call: Call[Any], error: CameraServiceError) -> "asyncio.Future[None]":
        """There is no picture. The future is done once the archive has kept that.

        What the camera has refused as the request's fault was no capture, and is forgotten.
        """
        error.metadata.setdefault("camera", self._record.camera)
        if isinstance(error, InvalidRequest | Unsupported):
            rejected = replace(self._event(EventType.REJECTED), failure=Failure.of(error))
            if self._has_events:  # which have an end, whatever others were refused
                self._refusals.count(rejected)
                return self._archive.withdraw(
                    self._record.capture_id, replace(rejected, refused_count=1)
                )
            self._refusals.note(replace(rejected, capture_id=""))
            return self._archive.withdraw(self._record.capture_id)
        error.metadata.setdefault("capture_id", self._record.capture_id)
        in_queue = isinstance(error, CallCancelled | CameraBusy | QueueFull)
        state = CaptureState.CANCELLED if in_queue else CaptureState.FAILED
        self._record = replace(self._so_far(call), state=state, failure=Failure.of(error))
        if not in_queue:
            self._statistics.captures_failed += 1
        return self._archive.end(self._record)

    def _so_far(self, call: Call[Any]) -> CaptureRecord:
        ticket, now = self._ticket, loop_time()
        return replace(
            self._record,
            attempts=call.attempts,
            recoveries=call.recoveries,
            queue_s=(ticket.started or now) - ticket.entered,
            total_s=now - ticket.entered,
        )

    def _report(self, percent: int) -> None:
        if percent > self._last_percent:
            self._last_percent, self._last_reported = percent, loop_time()
            event = replace(self._event(EventType.PROGRESS), progress_percent=percent)
            self._archive.note(event)

    def _queued(self) -> EventRecord:
        return replace(self._event(EventType.QUEUED), queue_position=self._ticket.position)

    def _event(self, kind: EventType) -> EventRecord:
        record = self._record
        whose = (record.camera, record.capture_id, record.request_id)
        return EventRecord(kind, time.time_ns(), *whose, attempt=self._attempt)
