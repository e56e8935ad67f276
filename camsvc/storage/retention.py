"""What is kept for how long: captures by age and by size, events by age and by number.

The oldest go first. What is protected stays (see `protected`), and so do captures with the pinned
label.
"""

import asyncio
import contextlib
import math
import sqlite3
import time
from typing import Protocol

import structlog

from camsvc.model.errors import StorageFull
from camsvc.storage.archive import Archive

_log = structlog.get_logger()

INTERVAL_S = 60.0
"""How often ages are checked. Size is checked with every picture."""

_AGAIN_S = 1.0
"""While there is too much, and all of it is to stay: the least time until the next check."""

_LOOKS_PER_MIN_AGE = 10

_DAY_NS = 86_400 * 10**9


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
        self, archive: Archive, settings: RetentionPolicy, interval_s: float = INTERVAL_S
    ) -> None:
        self._archive = archive
        self._settings = settings
        self._max_bytes = settings.max_bytes or math.inf
        self._interval_s = interval_s
        key, _, value = settings.pinned_label.partition("=")
        self._pinned = (key, value) if key else None
        """With the value "" where any value pins."""

    async def run(self) -> None:
        """Enforce the settings until cancelled."""
        while True:
            try:
                await self.enforce()
            except (OSError, sqlite3.Error, StorageFull) as error:  # it is tried again
                _log.error("retention failed", error=str(error))
            if self._archive.space.total_bytes > self._max_bytes:
                again_s = max(_AGAIN_S, self._settings.min_age_s / _LOOKS_PER_MIN_AGE)
                await asyncio.sleep(min(again_s, self._interval_s))
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._interval_s):
                        await self._archive.space.wait_until_larger(self._max_bytes)

    async def enforce(self) -> None:
        """Delete what is not to be kept any more."""
        archive, settings = self._archive, self._settings
        await archive.space.refresh()
        oldest_ns = None
        if settings.max_age_days:
            oldest_ns = time.time_ns() - int(settings.max_age_days * _DAY_NS)
            while await archive.prune(before_time_ns=oldest_ns, without_label=self._pinned):
                pass
        while (excess := archive.space.total_bytes - self._max_bytes) > 0 and await archive.prune(
            excess_bytes=excess, without_label=self._pinned
        ):
            pass
        while await archive.trim_events(before_time_ns=oldest_ns, keep=settings.max_events):
            pass
