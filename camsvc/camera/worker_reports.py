"""What a camera's worker reports unasked, passed on to the camera's observers."""

from collections.abc import Callable

from camsvc.camera.observer import CameraObserver
from camsvc.camera.ports import CameraWorker
from camsvc.camera.worker_slot import WorkerSlot
from camsvc.ipc import messages as m
from camsvc.ipc.errors import error_of
from camsvc.ipc.observer import WorkerObserver
from camsvc.live.ports import CameraFrame, EncodedImage
from camsvc.model.values import DeviceInfo


class WorkerReports(WorkerObserver):
    """Passes on what the camera's worker reports; what a former one reports is dropped."""

    def __init__(
        self,
        worker: CameraWorker,
        slot: WorkerSlot,
        observer: CameraObserver,
        ended: Callable[[CameraWorker], None],
    ) -> None:
        self._worker = worker
        self._slot = slot
        self._observer = observer
        self._ended = ended

    @property
    def _is_current(self) -> bool:
        return self._worker is self._slot.worker

    def on_live_frame(self, frame: m.SharedFrame) -> None:
        if not self._is_current:
            return
        pictures = self._worker.take_live(frame.images)
        images = [
            EncodedImage(i.variants, i.mime_type, i.width_px, i.height_px, data)
            for i, data in zip(frame.images, pictures, strict=True)
        ]
        self._observer.on_live_frame(
            CameraFrame(frame.acquisition_time_ns, images, frame.encode_s, frame.skipped)
        )

    def on_live_lost(self, failure: m.Failed) -> None:
        if self._is_current:
            self._observer.on_live_failed(error_of(failure))

    def on_device_changed(self, device: DeviceInfo) -> None:
        if self._is_current:
            self._slot.device = device

    def on_progress(self, percent: int) -> None:
        if self._is_current:
            self._observer.on_progress(percent)

    def on_ended(self) -> None:
        self._ended(self._worker)
