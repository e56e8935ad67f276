"""What is kept for how long: captures by age and by size, events by age and by number.

The oldest go first; what is being downloaded stays, and so do captures with the pinned label.
"""

import asyncio
import contextlib
import sqlite3
import time
from dataclasses import dataclass

import structlog

from camsvc.model.errors import StorageFull
from camsvc.storage.archive import Archive

_log = structlog.get_logger()

_INTERVAL_S = 60.0
"""How often age is looked at. Size is looked at with every picture."""

_DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings' table `retention` as plain values."""

    max_age_days: float = 0.0
    max_bytes: int = 0
    pinned_label: str = ""
    max_events: int = 400_000

    @property
    def pinned(self) -> tuple[str, str] | None:
        """The pinned label's key and value, which is empty where any value pins."""
        key, _, value = self.pinned_label.partition("=")
        return (key, value) if key else None


class Retention:
    """Enforces a policy on an archive, for as long as `run` runs."""

    def __init__(self, archive: Archive, policy: Policy) -> None:
        self._archive = archive
        self._policy = policy
        self._wake = asyncio.Event()
        archive.on_stored = self._look

    async def run(self) -> None:
        """Enforce the policy until cancelled."""
        while True:
            self._wake.clear()  # before looking: what comes meanwhile is looked at next
            try:
                await self.enforce()
            except (OSError, sqlite3.Error, StorageFull) as error:  # it is tried again
                _log.error("retention failed", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL_S):
                    await self._wake.wait()

    async def enforce(self) -> None:
        """Delete what the policy lets go."""
        archive, policy = self._archive, self._policy
        await archive.count()
        oldest_ns = None
        if policy.max_age_days:
            oldest_ns = time.time_ns() - int(policy.max_age_days * _DAY_NS)
            while await archive.prune(before_time_ns=oldest_ns, without_label=policy.pinned):
                pass
        while self._excess_bytes > 0 and await archive.prune(
            excess_bytes=self._excess_bytes, without_label=policy.pinned
        ):
            pass
        while await archive.trim_events(before_time_ns=oldest_ns, keep=policy.max_events):
            pass

    @property
    def _excess_bytes(self) -> int:
        return self._archive.total_bytes - self._policy.max_bytes if self._policy.max_bytes else 0

    def _look(self) -> None:
        if self._excess_bytes > 0:
            self._wake.set()
