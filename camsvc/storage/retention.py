"""What is kept for how long: captures by age and by size, events by age and by number.

The oldest go first, which are those that came first. What is protected stays (see `protected`), and
so do captures with the pinned label. The journal counts, too, so that neither events nor captures
without a picture take the disk.

Age is a matter of labels from a clock that may have been wrong then, and of one that may be wrong
now. So what is kept goes by age only when its label is too old by the `TrustedClock`, and it came
neither after what is not, nor after a moment of which that is known (`age_floors`).
"""

import asyncio
import contextlib
import math
import sqlite3
from typing import Protocol

import structlog

from camsvc.model.clock import Moment
from camsvc.model.errors import StorageFull, StorageUnavailable
from camsvc.storage.age_floors import AgeFloors
from camsvc.storage.archive import Archive
from camsvc.storage.trusted_clock import TrustedClock

_log = structlog.get_logger()

INTERVAL_S = 60.0
"""How often ages are checked. Size is checked with every picture."""

_AGAIN_S = 1.0
"""While there is too much, and all of it is to stay: the least time until the next check."""

_LOOKS_PER_MIN_AGE = 10

_EVENT_BYTES = 1024
"""What events may take each, on average: twice what they take. Some have many labels."""
_LEAST_EVENT_BYTES = 4 << 20
"""What all of them may take, however little pictures may; else a tenth of that."""

_DAY_NS = 86_400 * 10**9
_NO_NUMBER = 2**63 - 1
_KEEP_S = 600.0
"""How often what is known of ages is written down, for the next start."""


class RetentionPolicy(Protocol):
    """The table `[retention]` of the settings, which says what its keys mean."""

    @property
    def max_age_days(self) -> float: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def min_age_s(self) -> float: ...
    @property
    def pinned_label(self) -> str: ...
    @property
    def max_events(self) -> int: ...


class Retention:
    """Enforces the settings on an archive, for as long as `run` runs."""

    def __init__(
        self,
        archive: Archive,
        settings: RetentionPolicy,
        clock: TrustedClock,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._archive = archive
        self._clock = clock
        self._max_age_ns = int(settings.max_age_days * _DAY_NS)
        numbers = archive.first_numbers
        self._floors = AgeFloors(archive.known_ages, numbers, clock, self._max_age_ns)
        self._kept_at = -math.inf
        """When what is known of ages was written down, in seconds of the monotonic clock."""
        self._settings = settings
        self._max_bytes = settings.max_bytes or math.inf
        self._max_event_bytes = min(
            settings.max_events * _EVENT_BYTES, max(_LEAST_EVENT_BYTES, self._max_bytes / 10)
        )
        self._interval_s = interval_s
        key, _, value = settings.pinned_label.partition("=")
        self._pinned = (key, value) if key else None
        """With the value "" where any value pins."""

    async def run(self) -> None:
        """Enforce the settings until cancelled."""
        while True:
            try:
                await self.enforce()
            except (OSError, sqlite3.Error, StorageFull, StorageUnavailable) as error:
                _log.error("retention failed", error=str(error))  # it is tried again
            if self._archive.space.counted_bytes > self._max_bytes:
                again_s = max(_AGAIN_S, self._settings.min_age_s / _LOOKS_PER_MIN_AGE)
                await asyncio.sleep(min(again_s, self._interval_s))
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._interval_s):
                        await self._archive.space.wait_until_larger(self._max_bytes)

    async def enforce(self) -> None:
        """Delete what is not to be kept any more."""
        archive, settings = self._archive, self._settings
        oldest_ns, young_event = None, _NO_NUMBER
        if settings.max_age_days:
            now = self._clock.now()
            oldest_ns = now.wall_ns - self._max_age_ns
            young, young_event = await self._first_young(now, oldest_ns)
            while await archive.prune(before=(oldest_ns, young), without_label=self._pinned):
                pass
        await self._trim_events(oldest_ns, young_event)
        while (excess := archive.space.counted_bytes - self._max_bytes) > 0 and await archive.prune(
            excess_bytes=excess, without_label=self._pinned
        ):
            await self._trim_events(oldest_ns, young_event)  # theirs have grown by their labels

    async def _trim_events(self, oldest_ns: int | None, young: int) -> None:
        while await self._archive.trim_events(
            before_time_ns=oldest_ns,
            keep=self._settings.max_events,
            young=young,
            keep_bytes=self._max_event_bytes,
        ):
            pass
        await self._archive.space.refresh()

    async def _first_young(self, now: Moment, oldest_ns: int) -> tuple[int, int]:
        """Return from which capture and event on none is too old; keep what is known of ages."""
        self._floors.note(await self._archive.last_numbers(), now)
        if now.monotonic_ns / 1e9 >= self._kept_at + _KEEP_S:
            await self._archive.keep_ages(self._floors.known(now))
            self._kept_at = now.monotonic_ns / 1e9
        capture, event = self._floors.first_young(now)
        first = await self._archive.first_created(since_ns=oldest_ns, until_ns=now.wall_ns)
        return min(capture, _NO_NUMBER if first is None else first), event
