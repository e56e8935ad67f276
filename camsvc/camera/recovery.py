"""The ladder: what is tried, in which order, to bring a camera back; counted and timed."""

import time
from dataclasses import dataclass
from enum import IntEnum

from camsvc.model.errors import CameraLost, DeviceAway, WorkerLost, WorkerTimeout

BACK_OFF_FIRST_S, BACK_OFF_LAST_S = 1.0, 30.0
_BACK_OFF_SHARE = 1 / 40
"""Of the time that a camera has been ill. So waiting makes no outage longer by more than that, and
one of a minute or less is over within 3 s of its cause, also when that takes two tries."""

AWAY_S = 1.0
"""Between two looks for a device that is away: each costs little, and it is to be found soon."""


class Rung(IntEnum):
    """One way to bring a camera back; each is ruder than the one before."""

    SOFT_RETRY = 1
    """The driver's own `recover`, on the open device."""
    REOPEN = 2
    """Close the device and open it again, in the same worker."""
    RESTART = 3
    """Kill the worker; a warm one opens the device."""
    BACK_OFF = 4
    """Wait, then as REOPEN, or as RESTART where that hung; 1 s at first, up to 30 s."""


@dataclass(slots=True)
class RungStatistics:
    """How often a rung was climbed, and how long the last time took, whatever came of it."""

    count: int = 0
    total_s: float = 0.0
    last_duration_s: float = 0.0
    last_time_ns: int = 0


class Ladder:
    """Chooses the next rung. It starts anew after a success of the camera's work."""

    def __init__(self) -> None:
        self._last: Rung | None = None
        self._ill_since: float | None = None
        self.statistics = {rung: RungStatistics() for rung in Rung}

    def next(self, error: CameraLost, *, device_open: bool, now: float) -> tuple[Rung, float]:
        """Return the rung to climb after `error`, and how many seconds to wait before it.

        `now` is in seconds, of any clock that only goes on.

        A device that never opened cannot be had back softly. One that is away is waited for, and
        what else may be wrong with it begins at the bottom.
        """
        if isinstance(error, DeviceAway):
            self.calm()
            return Rung.BACK_OFF, AWAY_S
        if self._ill_since is None:
            self._ill_since = now
        process_lost = isinstance(error, WorkerLost | WorkerTimeout)
        softest = Rung.SOFT_RETRY if device_open else Rung.REOPEN
        lowest = Rung.RESTART if process_lost else softest
        after_last = Rung.SOFT_RETRY if self._last is None else min(self._last + 1, Rung.BACK_OFF)
        self._last = Rung(max(lowest, after_last))
        if self._last is not Rung.BACK_OFF:
            return self._last, 0.0
        wait_s = _BACK_OFF_SHARE * (now - self._ill_since)
        return self._last, min(max(BACK_OFF_FIRST_S, wait_s), BACK_OFF_LAST_S)

    def climbed(self, rung: Rung, duration_s: float) -> None:
        """Note that a rung was climbed, with success or not."""
        statistics = self.statistics[rung]
        statistics.count += 1
        statistics.total_s += duration_s
        statistics.last_duration_s = duration_s
        statistics.last_time_ns = time.time_ns()

    def calm(self) -> None:
        """Start from the first rung at the next failure."""
        self._last = self._ill_since = None
