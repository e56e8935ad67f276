"""How old captures and events can be at most, whatever the clock said that labelled them.

Both are numbered as they come. A floor is a number of each and a time: what has higher numbers is
no older than that. Where the wall clock may have been wrong, the time is known only by how long the
service has run since; for how long it did not run, nobody knows. From the moment on at which the
clock is certain, it is Unix time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from camsvc.model.clock import Moment
from camsvc.storage.trusted_clock import TrustedClock

_SPACES = 50
"""Floors are that many to the greatest age: what is kept may stay for so much of it longer."""


@dataclass(frozen=True, slots=True)
class Floor:
    """What comes after this capture and this event is no older than a time."""

    capture: int
    event: int
    time_ns: int


@dataclass(frozen=True, slots=True)
class KnownAges:
    """What is known at a moment, as it is kept for the next start.

    The times of `certain` floors are Unix time. Those of `running` ones count from the moment on,
    and are negative.
    """

    time_ns: int = 0
    """The moment, by the trusted time; 0: none is known."""
    certain: Sequence[Floor] = ()
    running: Sequence[Floor] = ()


class AgeFloors:
    """The floors of former runs, and those of this one."""

    def __init__(
        self, known: KnownAges, last: tuple[int, int], clock: TrustedClock, max_age_ns: int
    ) -> None:
        """Begin with what was known at the start, and the newest capture's and event's numbers."""
        begun_ns = clock.begun.monotonic_ns
        self._certain = list(known.certain)
        self._running = [*_moved(known.running, begun_ns), Floor(*last, begun_ns)]
        """With times of the monotonic clock, also those from before."""
        self._clock = clock
        self._max_age_ns = max_age_ns
        self._space_ns = max_age_ns // _SPACES

    def note(self, last: tuple[int, int], now: Moment) -> None:
        """Note the newest capture's and event's numbers, which were read after `now`."""
        newest = Floor(*last, now.monotonic_ns)
        self._running = self._thinned([*self._running, newest], now.monotonic_ns)
        if self._clock.certain:
            self._certain += _moved(self._running, now.offset_ns)
            self._running = []
        self._certain = self._thinned(self._certain, now.wall_ns)

    def first_young(self, now: Moment) -> tuple[int, int]:
        """Return from which capture and which event on none is too old, by the trusted time."""
        oldest_ns = now.wall_ns - self._max_age_ns - self._space_ns
        floors = [*self._certain, *_moved(self._running, now.offset_ns)]
        floor = next((floor for floor in floors if floor.time_ns >= oldest_ns), floors[-1])
        return floor.capture + 1, floor.event + 1

    def known(self, now: Moment) -> KnownAges:
        """Return what is known now, by the trusted time."""
        running = _moved(self._running, -now.monotonic_ns)
        return KnownAges(now.wall_ns, tuple(self._certain), tuple(running))

    def _thinned(self, floors: Iterable[Floor], now_ns: int) -> list[Floor]:
        kept: list[Floor] = []
        for floor in floors:
            if kept and floor == replace(kept[-1], time_ns=floor.time_ns):
                kept.pop()  # nothing has come in between
            elif len(kept) > 1 and 0 <= floor.time_ns - kept[-2].time_ns <= self._space_ns:
                kept.pop()
            kept.append(floor)
        oldest_ns = now_ns - self._max_age_ns - self._space_ns
        return [floor for floor in kept if floor.time_ns >= oldest_ns]


def _moved(floors: Iterable[Floor], by_ns: int) -> list[Floor]:
    return [replace(floor, time_ns=floor.time_ns + by_ns) for floor in floors]
