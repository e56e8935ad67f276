"""The time that retention goes by: the wall clock's, but not while that has just been set.

A jump is believed once it has lasted; until then, time goes on from where it was. At the start it
goes on from the latest time that the journal knows.
"""

import asyncio
from collections.abc import Callable

import structlog

from camsvc.model import clock
from camsvc.model.clock import Moment
from camsvc.system import posix

_log = structlog.get_logger()

SETTLE_S = 3600.0
"""How long a jump has to last: a machine without a battery for its clock, or with a wrong one, has
the right time as soon as its network gives it, which takes minutes at most."""

LOOK_S = 1.0
"""How often the clocks are compared."""

_STEP_NS = 500_000_000
"""Between two looks, the wall clock may be slowed down or hurried by so much without being set."""


class TrustedClock:
    """Compares the wall clock with the monotonic one; each step is logged, once."""

    def __init__(
        self,
        known_ns: int,
        *,
        settle_s: float = SETTLE_S,
        now: Callable[[], Moment] = clock.now,
        is_synchronized: Callable[[], bool] = posix.clock_is_synchronized,
    ) -> None:
        """Begin now. `known_ns` is Unix time that has been for certain; 0: none is known.

        `settle_s` is how long a jump has to last until it is believed; `is_synchronized` says
        whether the system knows the wall clock to be right.
        """
        self._read = now
        self._is_synchronized = is_synchronized
        self._settle_ns = int(settle_s * 1e9)
        self.begun = begun = now()
        self._offset_ns = (min(known_ns, begun.wall_ns) or begun.wall_ns) - begun.monotonic_ns
        self._seen_ns = begun.offset_ns
        self._seen_since_ns = begun.monotonic_ns
        self.settled = False
        """Whether the wall clock has gone on for so long without being set, as was seen last."""

    @property
    def certain(self) -> bool:
        """Whether it is right, as was seen last: for so long, and as the system says."""
        return self.settled and self._is_synchronized()

    async def watch(self, look_s: float = LOOK_S) -> None:
        """Look at the clocks every `look_s` until cancelled."""
        while True:
            self.now()
            await asyncio.sleep(look_s)

    def now(self) -> Moment:
        """Return this moment, with the trusted time as the wall clock's."""
        present = self._read()
        step_ns = present.offset_ns - self._seen_ns
        if abs(step_ns) > _STEP_NS:
            self._seen_since_ns = present.monotonic_ns
            _log.warning("the wall clock was set", by_s=round(step_ns / 1e9, 3))
        self._seen_ns = present.offset_ns
        self.settled = present.monotonic_ns - self._seen_since_ns >= self._settle_ns
        if self.settled or abs(present.offset_ns - self._offset_ns) <= _STEP_NS:
            self._offset_ns = present.offset_ns
        return Moment(present.monotonic_ns + self._offset_ns, present.monotonic_ns)
