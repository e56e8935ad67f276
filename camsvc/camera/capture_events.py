"""A capture's steps as they happen, told to the archive."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from camsvc.camera.ports import CaptureArchive
from camsvc.camera.queue import Turn
from camsvc.ipc import messages as m
from camsvc.ipc.messages import ImageInfo
from camsvc.model.errors import CameraServiceError
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


class CaptureLog:
    """One capture's. Its record has what is known of it so far."""

    def __init__(self, archive: CaptureArchive, record: CaptureRecord, turn: Turn) -> None:
        self._archive = archive
        self._turn = turn
        self.record = record
        self._timer: asyncio.TimerHandle | None = None
        self._last_percent, self._last_told = 0, 0.0
        self._last_failure: Failure | None = None

    def accepted(self) -> None:
        """It has been let into the line, and waits there unless nobody is before it."""
        waits = self._turn.position > 0
        self._archive.begin(self.record, self._queued(self._turn.position) if waits else None)
        self._turn.on_moved = lambda position: self._archive.note(self._queued(position))

    def started(self) -> None:
        """It has been given the camera."""
        self._note(EventType.STARTED)

    def retrying(self) -> None:
        """Its next attempt begins."""
        self._note(EventType.RETRYING, failure=self._last_failure)

    def recovering(self, error: CameraServiceError) -> None:
        """An attempt has failed."""
        self._last_failure = Failure.of(error)
        self._note(EventType.RECOVERING, failure=self._last_failure)

    def shooting(self, expected_s: float) -> Callable[[int], None]:
        """Tell its progress by the time it should take, until `shot`; return what the driver tells.

        As soon as the driver tells it, time does not.
        """
        begun = self._now()
        self._last_percent, self._last_told = 0, begun

        def tick() -> None:
            self._tell(min(99, int(100 * (self._now() - begun) / max(expected_s, 0.001))))
            self._timer = asyncio.get_running_loop().call_later(_PROGRESS_S, tick)

        def by_driver(percent: int) -> None:
            self.shot()
            if self._now() >= self._last_told + _PROGRESS_S or percent == 100:
                self._tell(percent)

        self._timer = asyncio.get_running_loop().call_later(_PROGRESS_S, tick)
        return by_driver

    def shot(self) -> None:
        """The shot is over, or has failed."""
        if self._timer is not None:
            self._timer.cancel()

    async def succeeded(self, answer: m.Captured, staged: str) -> CaptureRecord:
        """Keep its picture.

        Raises:
            StorageFull, CameraUnavailable: it cannot be kept.
        """
        image, turn = answer.image, self._turn
        earlier_s = turn.called - turn.started if turn.attempts > 1 else 0.0
        record = replace(
            self._so_far(),
            image=_described(image),
            others=tuple(map(_described, answer.others)),
            acquisition_time_ns=image.acquisition_time_ns,
            exposure_us=image.exposure_us,
            controls=image.controls,
            store_s=answer.store_s,
            driver_s=earlier_s + answer.driver_s + answer.encode_s,
        )
        self.record = await self._archive.succeed(record, staged)
        return self.record

    def ended(self, state: CaptureState, error: CameraServiceError) -> "asyncio.Future[None]":
        """It has FAILED or was CANCELLED; the future is done once that is kept."""
        self.shot()
        self.record = replace(self._so_far(), state=state, failure=Failure.of(error))
        return self._archive.end(self.record)

    def _so_far(self) -> CaptureRecord:
        turn, now = self._turn, self._now()
        return replace(
            self.record,
            attempts=turn.attempts,
            recoveries=turn.recoveries,
            queue_s=(turn.started or now) - turn.entered,
            total_s=now - turn.entered,
        )

    def _tell(self, percent: int) -> None:
        if percent > self._last_percent:
            self._last_percent, self._last_told = percent, self._now()
            self._note(EventType.PROGRESS, progress_percent=percent)

    def _queued(self, position: int) -> EventRecord:
        return self._event(EventType.QUEUED, queue_position=position)

    def _note(
        self,
        kind: EventType,
        *,
        progress_percent: int | None = None,
        failure: Failure | None = None,
    ) -> None:
        self._archive.note(
            replace(self._event(kind), progress_percent=progress_percent, failure=failure)
        )

    def _event(self, kind: EventType, queue_position: int | None = None) -> EventRecord:
        record = self.record
        return EventRecord(
            kind,
            time.time_ns(),
            record.camera,
            record.capture_id,
            record.request_id,
            attempt=self._turn.attempts,
            queue_position=queue_position,
        )

    @staticmethod
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
