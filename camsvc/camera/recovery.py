"""What is tried, in which order, to bring a camera back: the escalation, counted and timed."""

import time
from dataclasses import dataclass
from enum import IntEnum

from camsvc.model.errors import CameraLost, DeviceAway, WorkerLost, WorkerTimeout

BACK_OFF_FIRST_S, BACK_OFF_LAST_S = 1.0, 30.0
_BACK_OFF_SHARE = 1 / 40
"""Of the time that a camera has been failing. So waiting makes no outage longer by more than that,
and one of a minute or less is over within 3 s of its cause, also when that takes two tries."""

AWAY_S = 1.0
"""Between two tries to open a device that is away: each costs little, and it shall be back soon."""


class Step(IntEnum):
    """One way to bring a camera back; each is more drastic than the one before."""

    SOFT_RETRY = 1
    """The driver's own `recover`, on the open device."""
    REOPEN = 2
    """Close the device and open it again, in the same worker."""
    RESTART = 3
    """Kill the worker; a warm one opens the device."""
    BACK_OFF = 4
    """Wait, then as REOPEN, or as RESTART where that hung; 1 s at first, up to 30 s."""


@dataclass(slots=True)
class StepStatistics:
    """How often a step was taken, and how long the last time took, whatever its outcome."""

    count: int = 0
    total_s: float = 0.0
    last_duration_s: float = 0.0
    last_time_ns: int = 0


class RecoverySteps:
    """Chooses the next step. It begins with the first again after the camera has worked."""

    def __init__(self) -> None:
        self._last: Step | None = None
        self._failing_since: float | None = None
        self.statistics = {step: StepStatistics() for step in Step}

    @property
    def longest_s(self) -> float:
        """What the longest step took when it was last taken."""
        return max(statistics.last_duration_s for statistics in self.statistics.values())

    def next(self, error: CameraLost, *, device_open: bool, now: float) -> tuple[Step, float]:
        """Return the step to take after `error`, and how many seconds to wait before it.

        `now` is in seconds, of a monotonic clock.

        A device that never opened cannot be recovered softly. One that seems to be away is looked
        for at once, then again and again, and whatever else may be wrong with it begins with the
        first step.
        """
        if isinstance(error, DeviceAway):
            self.reset()
            return (Step.REOPEN, 0.0) if device_open else (Step.BACK_OFF, AWAY_S)
        if self._failing_since is None:
            self._failing_since = now
        process_lost = isinstance(error, WorkerLost | WorkerTimeout)
        softest = Step.SOFT_RETRY if device_open else Step.REOPEN
        lowest = Step.RESTART if process_lost else softest
        after_last = Step.SOFT_RETRY if self._last is None else min(self._last + 1, Step.BACK_OFF)
        self._last = Step(max(lowest, after_last))
        if self._last is not Step.BACK_OFF:
            return self._last, 0.0
        wait_s = _BACK_OFF_SHARE * (now - self._failing_since)
        return self._last, min(max(BACK_OFF_FIRST_S, wait_s), BACK_OFF_LAST_S)

    def record(self, step: Step, duration_s: float) -> None:
        """Count a step that was taken, with success or not."""
        statistics = self.statistics[step]
        statistics.count += 1
        statistics.total_s += duration_s
        statistics.last_duration_s = duration_s
        statistics.last_time_ns = time.time_ns()

    def reset(self) -> None:
        """Begin with the first step at the next failure."""
        self._last = self._failing_since = None
