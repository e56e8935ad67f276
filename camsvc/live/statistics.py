"""What a live view counts."""

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Self

from camsvc.live.ports import CameraFrame

_FPS_WINDOW_S = 3.0


@dataclass(slots=True)
class LiveStatistics:
    """`fps` restarts after each still and each recovery, the totals never.

    `last_frame_ns` is Unix time, 0 before the first frame.
    """

    viewers: int = 0
    """Streams that are open."""
    variants: int = 0
    """Ways in which frames are encoded now."""
    last_frame_ns: int = 0
    frames_total: int = 0
    sent_total: int = 0
    """Frames that viewers have fetched."""
    dropped_total: int = 0
    skipped_total: int = 0
    bad_total: int = 0
    """Frames that could not be used."""
    encode_s_total: float = 0.0
    _arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=256))

    def count(self, frame: CameraFrame) -> None:
        """Count a frame, and those before it that the worker skipped or could not use."""
        self.frames_total += 1
        self.skipped_total += frame.skipped
        self.bad_total += frame.bad
        self.encode_s_total += frame.encode_s
        self.last_frame_ns = frame.acquisition_time_ns
        self._arrivals.append(time.monotonic())

    @property
    def fps(self) -> float:
        """Frames per second over the last few seconds."""
        now = time.monotonic()
        recent = [at for at in self._arrivals if now - at < _FPS_WINDOW_S]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0

    def snapshot(self) -> Self:
        """Return a copy, which stays as it is."""
        return replace(self, _arrivals=self._arrivals.copy())

    def reset_rate(self) -> None:
        """Restart the rate."""
        self._arrivals.clear()
