"""One capture's steps as they happen: its record and its events for the archive, and the counts."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from camsvc.camera.call import Call, CallCancelled
from camsvc.camera.ports import CaptureArchive
from camsvc.camera.statistics import CaptureStatistics
from camsvc.ipc import messages as m
from camsvc.ipc.messages import ImageInfo
from camsvc.model.errors import CameraBusy, CameraServiceError
from camsvc.model.records import (
    CaptureRecord,
    CaptureState,
    EventRecord,
    EventType,
    Failure,
    StoredImage,
)

_PROGRESS_S = 0.5
"""Least time between two PROGRESS events: each is a row on disk."""


class CaptureEvents:
    """One capture's. `record` is that of a capture which is in the queue at `position`."""

    def __init__(
        self,
        archive: CaptureArchive,
        record: CaptureRecord,
        statistics: CaptureStatistics,
        *,
        position: int,
    ) -> None:
        self._archive = archive
        self._record = record
        self._statistics = statistics
        self._attempt = 0
        self._timer: asyncio.TimerHandle | None = None
        self._last_percent, self._last_reported = 0, 0.0
        self._last_failure: Failure | None = None
        archive.begin(record, self._event(EventType.QUEUED, position) if position else None)

    def moved_up(self, position: int) -> None:
        """It waits behind fewer captures."""
        self._archive.note(self._event(EventType.QUEUED, position))

    def started(self) -> None:
        """It has the camera."""
        self._note(EventType.STARTED)

    def attempt_began(self, number: int) -> None:
        """An attempt begins, from 1 on."""
        self._attempt = number
        if number > 1:
            self._note(EventType.RETRYING, failure=self._last_failure)

    def attempt_failed(self, error: CameraServiceError) -> None:
        """An attempt has failed."""
        self._last_failure = Failure.of(error)
        self._note(EventType.RECOVERING, failure=self._last_failure)

    @contextlib.contextmanager
    def shooting(self, expected_s: float) -> Iterator[None]:
        """Report progress by the time that the shot should take, until the driver reports it."""
        begun = _now()
        self._last_percent, self._last_reported = 0, begun

        def tick() -> None:
            self._report(min(99, int(100 * (_now() - begun) / max(expected_s, 0.001))))
            self._timer = asyncio.get_running_loop().call_later(_PROGRESS_S, tick)

        self._timer = asyncio.get_running_loop().call_later(_PROGRESS_S, tick)
        try:
            yield
        finally:
            self._timer.cancel()

    def progressed(self, percent: int) -> None:
        """The driver has reported how far the shot is."""
        if self._timer is not None:
            self._timer.cancel()
        if _now() >= self._last_reported + _PROGRESS_S or percent == 100:
            self._report(percent)

    async def succeeded(
        self, call: Call[Any], captured: m.Captured, staged: str, earlier_s: float
    ) -> CaptureRecord:
        """Keep its picture; return the record.

        `earlier_s` is what its failed attempts took.

        Raises:
            StorageFull, CameraUnavailable: it cannot be kept.
        """
        image = captured.image
        record = replace(
            self._so_far(call),
            image=_described(image),
            others=tuple(map(_described, captured.others)),
            acquisition_time_ns=image.acquisition_time_ns,
            exposure_us=image.exposure_us,
            controls=image.controls,
            store_s=captured.store_s,
            driver_s=earlier_s + captured.driver_s + captured.encode_s,
        )
        self._record = await self._archive.succeed(record, staged)
        self._statistics.succeeded(_now() - call.ticket.entered)
        return self._record

    def failed(self, call: Call[Any], error: CameraServiceError) -> "asyncio.Future[None]":
        """There is no picture. The future is done once the archive has kept that."""
        error.metadata.setdefault("camera", self._record.camera)
        error.metadata.setdefault("capture_id", self._record.capture_id)
        in_queue = isinstance(error, CallCancelled | CameraBusy)
        state = CaptureState.CANCELLED if in_queue else CaptureState.FAILED
        self._record = replace(self._so_far(call), state=state, failure=Failure.of(error))
        self._statistics.ended(state, error)
        return self._archive.end(self._record)

    def _so_far(self, call: Call[Any]) -> CaptureRecord:
        ticket, now = call.ticket, _now()
        return replace(
            self._record,
            attempts=call.attempts,
            recoveries=call.recoveries,
            queue_s=(ticket.started or now) - ticket.entered,
            total_s=now - ticket.entered,
        )

    def _report(self, percent: int) -> None:
        if percent > self._last_percent:
            self._last_percent, self._last_reported = percent, _now()
            self._note(EventType.PROGRESS, progress_percent=percent)

    def _note(
        self,
        kind: EventType,
        *,
        progress_percent: int | None = None,
        failure: Failure | None = None,
    ) -> None:
        event = self._event(kind)
        self._archive.note(replace(event, progress_percent=progress_percent, failure=failure))

    def _event(self, kind: EventType, queue_position: int | None = None) -> EventRecord:
        record = self._record
        return EventRecord(
            kind,
            time.time_ns(),
            record.camera,
            record.capture_id,
            record.request_id,
            attempt=self._attempt,
            queue_position=queue_position,
        )


def _now() -> float:
    return asyncio.get_running_loop().time()


def _described(image: ImageInfo) -> StoredImage:
    return StoredImage(
        path="",
        mime_type=image.mime_type,
        width_px=image.width_px,
        height_px=image.height_px,
        size_bytes=image.size_bytes,
        sha256=image.sha256,
        name=image.name,
    )
