"""How old captures are, whatever the clock said that labelled them.

Captures are numbered as they come. A floor is a number and a time, in Unix time: captures of higher
numbers are no older than that. Floors are known for as long as they tell something, also over
restarts.
"""

from collections.abc import Iterable, Sequence

from camsvc.model.clock import Moment
from camsvc.storage.trusted_clock import TrustedClock

Floor = tuple[int, int]

_SPACES = 50
"""Floors are that many to the greatest age: a capture may stay for so much of it longer."""


class AgeFloors:
    """The floors of former runs, and those of this one, which shift when the clock's time does."""

    def __init__(
        self, past: Sequence[Floor], last_number: int, clock: TrustedClock, max_age_ns: int
    ) -> None:
        """Begin with the floors as they were at the start, and the newest capture's number."""
        self._past = list(past)
        self._run = [(last_number, clock.begun.monotonic_ns)]
        """With times of the monotonic clock."""
        self._clock = clock
        self._max_age_ns = max_age_ns
        self._space_ns = max_age_ns // _SPACES

    def note(self, last_number: int, now: Moment) -> None:
        """Note the newest capture's number, which was read after `now`."""
        self._run = self._thinned([*self._run, (last_number, now.monotonic_ns)])

    def at(self, now: Moment) -> list[Floor]:
        """Return the floors, by the trusted time `now`."""
        run = [(number, time_ns + now.offset_ns) for number, time_ns in self._run]
        past = self._past
        if self._clock.settled:
            past = [floor for floor in past if floor[1] <= now.wall_ns]
        elif past:  # what has been is past, unless that was the wrong clock
            run = [(number, max(time_ns, past[-1][1])) for number, time_ns in run]
        oldest_ns = now.wall_ns - self._max_age_ns - self._space_ns
        return self._thinned(floor for floor in (*past, *run) if floor[1] >= oldest_ns)

    def _thinned(self, floors: Iterable[Floor]) -> list[Floor]:
        kept: list[Floor] = []
        for floor in floors:
            if kept and kept[-1][0] == floor[0]:
                kept[-1] = max(kept[-1], floor)
                continue
            if len(kept) > 1 and 0 <= floor[1] - kept[-2][1] <= self._space_ns:
                kept.pop()
            kept.append(floor)
        return kept
