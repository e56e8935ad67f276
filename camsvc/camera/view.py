"""What a camera shows of itself: one frozen value, for the contract and the metrics."""

from collections.abc import Mapping
from dataclasses import dataclass

from camsvc.camera.recovery import Step, StepStatistics
from camsvc.camera.statistics import CaptureStatistics
from camsvc.live.statistics import LiveStatistics
from camsvc.model.errors import CameraServiceError
from camsvc.model.lifecycle import State
from camsvc.model.values import DeviceInfo


@dataclass(frozen=True, slots=True)
class ActiveCapture:
    """The capture under way. Times are nanoseconds since the Unix epoch."""

    capture_id: str
    request_id: str
    start_time_ns: int
    expected_end_time_ns: int


@dataclass(frozen=True, slots=True)
class CameraView:
    """A camera at one moment."""

    id: str
    driver: str
    state: State
    state_time_ns: int
    fault: CameraServiceError | None
    device: DeviceInfo | None
    queued: int
    """Captures that wait behind the one under way."""
    active: ActiveCapture | None
    worst_case_s: float
    captures: CaptureStatistics
    recoveries: Mapping[Step, StepStatistics]
    worker_starts: int
    live: LiveStatistics
