"""How often a source on the network gives a picture: measured, whatever it says of itself."""

import statistics
import time
from collections import deque

from camsvc.model.errors import DeviceAway

_RECENT = 100
_PATIENCE = 3.0
"""A pause may be so many times as long as the longest before it."""


class Pace:
    """The pauses between a source's last pictures."""

    def __init__(self, read_timeout_s: float) -> None:
        self._least_s = read_timeout_s
        self._gaps_s: deque[float] = deque(maxlen=_RECENT)
        self._last = time.monotonic()
        self._has_one = False

    def picture_came(self) -> None:
        """A picture has come."""
        now = time.monotonic()
        if self._has_one:
            self._gaps_s.append(now - self._last)
        self._last, self._has_one = now, True

    @property
    def silent_s(self) -> float:
        """For how long none has come."""
        return time.monotonic() - self._last

    @property
    def limit_s(self) -> float:
        """After how long without a picture the source counts as silent, in whole seconds or so."""
        longest_s = max(self._gaps_s, default=0.0)
        return _PATIENCE * (self._least_s if longest_s <= self._least_s else round(longest_s + 0.5))

    def silence(self) -> DeviceAway:
        """Return the error of a source that is silent."""
        return DeviceAway(
            f"no whole picture has come for {self.limit_s:g} s, three times read_timeout_s "
            f"({self._least_s:g} s) or the longest pause before: if it may pause for longer, raise "
            "read_timeout_s in its settings"
        )

    @property
    def interval_s(self) -> float:
        """What lies between two pictures as a rule; 0: not known yet."""
        return statistics.median(self._gaps_s) if self._gaps_s else 0.0
