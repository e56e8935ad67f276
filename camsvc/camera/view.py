"""What a camera shows of itself: one frozen value, for the contract and the metrics."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from camsvc.camera.recovery import Step, StepStatistics
from camsvc.live.statistics import LiveStatistics
from camsvc.model.errors import CameraServiceError
from camsvc.model.health import Health
from camsvc.model.lifecycle import State
from camsvc.model.values import DeviceInfo


@dataclass(slots=True)
class CaptureStatistics:
    """Counts since the service started; `capture_s_total` is of the succeeded, with waiting."""

    captures_succeeded: int = 0
    captures_failed: int = 0
    captures_rejected: int = 0
    """Those that were refused before they began."""
    captures_busy: int = 0
    """Those of the rejected that found the camera busy, or its queue full."""
    capture_s_total: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)
    """All that were refused, at once or in their turn, by reason."""


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
    failures: int
    """How often it failed since it last worked."""
    health: Health
    worker_pid: int
    """0: it has no worker."""
    captures: CaptureStatistics
    recoveries: Mapping[Step, StepStatistics]
    worker_starts: int
    live: LiveStatistics
