"""A camera's own events for the archive: lost for longer, back again, what it has refused."""

import time

from camsvc.camera.observer import CameraObserver
from camsvc.camera.ports import CaptureArchive
from camsvc.camera.view import CaptureStatistics
from camsvc.model.errors import CameraBusy, CameraServiceError, QueueFull
from camsvc.model.lifecycle import State
from camsvc.model.records import EventRecord, EventType, Failure


class CameraEvents(CameraObserver):
    """One camera's events that belong to no capture: each outage and its end once."""

    def __init__(self, camera: str, archive: CaptureArchive, statistics: CaptureStatistics) -> None:
        self._camera = camera
        self._archive = archive
        self._statistics = statistics
        self._unavailable = False

    def on_unavailable(self, error: CameraServiceError) -> None:
        if not self._unavailable:
            self._unavailable = True
            self._note(EventType.CAMERA_UNAVAILABLE, error)

    def on_state_changed(self, camera: str, state: State) -> None:
        if self._unavailable and state is State.READY:
            self._unavailable = False
            self._note(EventType.CAMERA_AVAILABLE)

    def on_rejected(self, error: CameraServiceError, request_id: str) -> None:
        self._statistics.captures_rejected += 1
        self._statistics.captures_busy += isinstance(error, CameraBusy | QueueFull)
        self._note(EventType.REJECTED, error, request_id)

    def _note(
        self, kind: EventType, error: CameraServiceError | None = None, request_id: str = ""
    ) -> None:
        failure = Failure.of(error) if error is not None else None
        self._archive.note(
            EventRecord(kind, time.time_ns(), self._camera, request_id=request_id, failure=failure)
        )
