"""How far a shot is. It only grows: whatever makes it grow shows that the camera is at work."""

import time
from collections.abc import Callable

_EXPOSED = 50
"""Percent at the end of an exposure that is timed here; what the camera makes of it comes then."""
_WAITED = 90
"""Percent that is not passed while nobody knows how much is to come."""
_STEP_S = 1.0


class Progress:
    """One shot's, reported in percent."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        self._percent = 0
        self._stepped = 0.0
        self._fetching_from = 0

    def exposed(self, part: float) -> None:
        """So much of the exposure is over, from 0 to 1."""
        self._to(int(_EXPOSED * part))

    def flows(self) -> None:
        """Something comes, nobody knows how much: a percent each second."""
        if self._percent < _WAITED and time.monotonic() >= self._stepped + _STEP_S:
            self._to(self._percent + 1)

    def fetching(self) -> None:
        """What is left is to fetch the files."""
        self._fetching_from = self._percent

    def fetched(self, part: float) -> None:
        """So much of all files is here, from 0 to 1."""
        self._to(self._fetching_from + int((100 - self._fetching_from) * min(1.0, part)))

    def _to(self, percent: int) -> None:
        if percent > self._percent:
            self._percent, self._stepped = percent, time.monotonic()
            self._report(percent)
