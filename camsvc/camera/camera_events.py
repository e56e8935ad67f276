"""A camera's own events for the archive: lost for longer, back again, what it has refused."""

import time
from dataclasses import replace

from camsvc.camera.observer import CameraObserver
from camsvc.camera.ports import CaptureArchive
from camsvc.camera.refusals import Refusals
from camsvc.camera.view import CaptureStatistics
from camsvc.model.errors import (
    CameraBusy,
    CameraServiceError,
    QueueFull,
    StorageFull,
    StorageUnavailable,
)
from camsvc.model.lifecycle import State
from camsvc.model.records import EventRecord, EventType, Failure


class CameraEvents(CameraObserver):
    """One camera's events that belong to no capture: why it is lost, and that it is back."""

    def __init__(
        self,
        camera: str,
        archive: CaptureArchive,
        statistics: CaptureStatistics,
        refusals: Refusals,
    ) -> None:
        self._camera = camera
        self._archive = archive
        self._refusals = refusals
        self._statistics = statistics
        self._cause = ""
        """Why the camera is not there, as it was noted last; empty: it is there."""

    def on_unavailable(self, error: CameraServiceError) -> None:
        if str(error) != self._cause:
            self._cause = str(error)
            self._archive.note(self._event(EventType.CAMERA_UNAVAILABLE, error))

    def on_state_changed(self, camera: str, state: State) -> None:
        if self._cause and state is State.READY:
            self._cause = ""
            self._archive.note(self._event(EventType.CAMERA_AVAILABLE))

    def on_rejected(self, error: CameraServiceError, request_id: str) -> None:
        busy = isinstance(error, CameraBusy | QueueFull)
        self._statistics.captures_busy += busy
        no_disk = isinstance(error, StorageFull | StorageUnavailable)
        self._statistics.captures_rejected += busy or no_disk
        rejected = self._event(EventType.REJECTED, error)
        self._refusals.note(replace(rejected, request_id=request_id))

    def _event(self, kind: EventType, error: CameraServiceError | None = None) -> EventRecord:
        failure = Failure.of(error) if error is not None else None
        return EventRecord(kind, time.time_ns(), self._camera, failure=failure)
