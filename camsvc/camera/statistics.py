"""What a camera counts of its captures, since the service started."""

from dataclasses import dataclass

from camsvc.model.errors import (
    CameraBusy,
    CameraServiceError,
    InvalidRequest,
    QueueFull,
    Unsupported,
)
from camsvc.model.records import CaptureState


@dataclass(slots=True)
class CaptureStatistics:
    """Counts of captures; `capture_s_total` is what the succeeded ones took, waiting included."""

    captures_succeeded: int = 0
    captures_failed: int = 0
    captures_rejected: int = 0
    captures_busy: int = 0
    """Those of the rejected that found the camera busy, or its queue full."""
    capture_s_total: float = 0.0
    consecutive_failures: int = 0

    def rejected(self, error: CameraServiceError) -> None:
        """Count a capture that was refused before it began."""
        self.captures_rejected += 1
        self.captures_busy += isinstance(error, CameraBusy | QueueFull)

    def succeeded(self, seconds: float) -> None:
        """Count a picture."""
        self.captures_succeeded += 1
        self.capture_s_total += seconds
        self.consecutive_failures = 0

    def ended(self, state: CaptureState, error: CameraServiceError) -> None:
        """Count a capture without a picture; a fault of the request is no failure."""
        if state is CaptureState.FAILED and not isinstance(error, InvalidRequest | Unsupported):
            self.captures_failed += 1
            self.consecutive_failures += 1
