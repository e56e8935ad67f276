"""What a live view counts."""

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Self

_FPS_WINDOW_S = 3.0


@dataclass(slots=True)
class LiveStatistics:
    """`frames` and `fps` restart after each still and each recovery, the totals never.

    `last_frame_ns` is Unix time, 0 before the first frame.
    """

    viewers: int = 0
    """Streams that are open."""
    variants: int = 0
    """Ways in which frames are encoded now."""
    frames: int = 0
    last_frame_ns: int = 0
    frames_total: int = 0
    sent_total: int = 0
    """Frames that viewers have fetched."""
    dropped_total: int = 0
    skipped_total: int = 0
    encode_s_total: float = 0.0
    _arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=256))

    def count(self, acquisition_time_ns: int, encode_s: float, skipped: int) -> None:
        """Count a frame, and those that the worker skipped before it."""
        self.frames += 1
        self.frames_total += 1
        self.skipped_total += skipped
        self.encode_s_total += encode_s
        self.last_frame_ns = acquisition_time_ns
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

    def reset_rates(self) -> None:
        """Restart `frames` and the rate."""
        self.frames = 0
        self._arrivals.clear()
