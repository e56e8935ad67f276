"""Time: the monotonic clock for order and ages, the wall clock for labels alone.

The wall clock may be set at any moment, by a second or by years. The monotonic clock never is, and
all processes of a machine share it. Drivers give Unix time: `acquired` alone is where that is
checked and brought to both clocks.
"""

import operator
import time
from dataclasses import dataclass
from typing import SupportsIndex

from camsvc.model.errors import DriverError, in_words

_STEP_NS = 5_000_000
"""The wall clock is only adjusted by less, while a frame is taken; readings of both clocks are
within a millisecond of each other."""

_TOGETHER_NS = 1_000_000
_AHEAD_S = 1
"""A driver's time may be ahead of now by so much: it counts as now."""

_BEHIND_S = 3600
"""And behind by so much: a picture that is older is none of a live view."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment by both clocks, in nanoseconds: since 1970, and since the machine has started."""

    wall_ns: int
    monotonic_ns: int

    @property
    def offset_ns(self) -> int:
        """What the wall clock is ahead by: another number means that it was set."""
        return self.wall_ns - self.monotonic_ns


def now() -> Moment:
    """Return this moment."""
    while True:
        before_ns = time.monotonic_ns()
        wall_ns = time.time_ns()
        if time.monotonic_ns() - before_ns < _TOGETHER_NS:  # else others had the processor
            return Moment(wall_ns, before_ns)


def acquired(time_ns: int, asked: Moment) -> Moment:
    """Return when a frame was taken, whose driver says `time_ns` (Unix time) and was just called.

    `asked` is the moment of that call. Where the wall clock was set since, the driver may have read
    it before or after that: what is possible is taken.

    Raises:
        DriverError: no frame can be of that time.
    """
    if isinstance(time_ns, bool) or not isinstance(time_ns, SupportsIndex):
        raise DriverError(
            f"the time of the driver's frame is {in_words(time_ns)}; allowed: a whole number, in "
            "nanoseconds since 1970"
        )
    time_ns = operator.index(time_ns)
    present = now()
    was_set = abs(present.offset_ns - asked.offset_ns) > _STEP_NS
    offsets = {asked.offset_ns, present.offset_ns} if was_set else {asked.offset_ns}
    ages_ns = [present.monotonic_ns - (time_ns - offset_ns) for offset_ns in offsets]
    age_ns = min((age for age in ages_ns if age >= -_AHEAD_S * 10**9), default=None)
    if age_ns is None or age_ns > _BEHIND_S * 10**9:
        ahead_s = (time_ns - present.wall_ns) // 10**9
        raise DriverError(
            f"the time of the driver's frame is {in_words(time_ns)}, {in_words(abs(ahead_s))} s "
            f"{'ahead of' if ahead_s > 0 else 'before'} now; allowed: from {_BEHIND_S} s before "
            f"now to {_AHEAD_S} s ahead"
        )
    age_ns = max(0, age_ns)
    label_ns = present.wall_ns - age_ns if was_set else min(time_ns, present.wall_ns)
    return Moment(label_ns, max(0, present.monotonic_ns - age_ns))
