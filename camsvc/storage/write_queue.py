"""Writes to the database, in their order, also when the disk is full for a while.

Invariants:

- What was posted is written in the order of posting, and once. It stays in the queue until it is on
  disk; what finds the disk full waits there, and whatever comes later waits behind it.
- Memory is bounded. When `MAX_PENDING` writes are in the queue, events are dropped, counted, and
  leave a gap in the events' numbers, which readers see. The beginning and the end of
  a capture and deletions are never dropped: see `overfull`.

The database has the first writes of the queue, as one job: what follows is sent when that has an
outcome, so nothing overtakes a write that has failed.
"""

import asyncio
import collections
import contextlib
import itertools
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from camsvc.model.records import EventRecord
from camsvc.storage import event_queries
from camsvc.storage.database import Database, Failed, Job, attempt, resolve
from camsvc.storage.event_feed import EventFeed

T = TypeVar("T")

RETRY_S = 1.0
"""How often it is tried again while the disk is full."""

MAX_PENDING = 10_000
"""Some 10 MB: the events of a busy rig in several minutes."""

_SENT_AT_ONCE = 200

_MOST_BEHIND = 1000
"""Writes that may wait for a slow disk before those who cause them wait, too."""

_log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class _Entry:
    """A write in the queue."""

    job: Job[Any]
    outcome: asyncio.Future[Any]
    """For who waits. Of what was posted: done as soon as it is on disk, or waits for room."""
    posted: bool
    missing: int = 0
    """Of a gap: the events that were dropped in this place."""


class WriteQueue:
    """The way to the database, and of the events that were committed to their readers.

    An event that a job returns is given to the readers once it is on disk.
    """

    def __init__(
        self, database: Database, feed: EventFeed, *, retry_s: float, max_pending: int
    ) -> None:
        self._database = database
        self._feed = feed
        self._retry_s = retry_s
        self._max_pending = max_pending
        self._entries: collections.deque[_Entry] = collections.deque()
        self._sent = 0
        """How many of them the database has: the first ones."""
        self._retry: asyncio.TimerHandle | None = None
        """While all of them wait for room."""
        self._stalled = False
        self.dropped_writes = 0
        """Events dropped since the start."""
        self._dropped_before = 0
        """How many of them before the disk was full this time."""

    @property
    def pending(self) -> int:
        """How many writes are not on disk yet."""
        return len(self._entries)

    @property
    def behind(self) -> bool:
        """Whether the disk is far behind; not where it takes nothing at all."""
        return self._retry is None and len(self._entries) > _MOST_BEHIND

    @property
    def overfull(self) -> bool:
        """Whether no capture may begin: what cannot be dropped has filled the queue once more."""
        return len(self._entries) >= 2 * self._max_pending

    def post(self, job: Job[object], *, droppable: bool = False) -> asyncio.Future[None]:
        """Write what nobody has to wait for. What finds the disk full is written later.

        The future is done as soon as it is one or the other. It never fails.
        """
        if droppable and len(self._entries) >= self._max_pending:
            return self._drop()
        return self._append(job, posted=True).outcome

    async def write(self, job: Job[T]) -> T:
        """Write behind all that was posted, and return the result once it is on disk.

        A caller that leaves does not take the job back.

        Raises:
            OSError, sqlite3.Error: it cannot be written now, or what was posted before cannot.
            Exception: whatever else the job raises.
        """
        result: T = await asyncio.shield(self._append(job, posted=False).outcome)
        return result

    async def flush(self) -> None:
        """Write what was posted.

        Raises:
            OSError, sqlite3.Error: there is no room for it.
        """
        await self.write(lambda db: None)

    async def close(self) -> None:
        """Try once more to write what waits; what cannot be written is lost, and logged."""
        with contextlib.suppress(Exception):  # what it is about was logged
            await self.flush()
        if self._retry is not None:
            self._retry.cancel()
        if self._entries:
            _log.error(
                "writes lost at the end: there is no room on the disk",
                lost_writes=len(self._entries),
                dropped_writes=self.dropped_writes - self._dropped_before,
            )

    # Internals.

    def _append(self, job: Job[Any], *, posted: bool) -> _Entry:
        loop = asyncio.get_running_loop()
        entry = _Entry(job, loop.create_future(), posted)
        if posted and self._retry is not None:
            entry.outcome.set_result(None)
        elif self._retry is not None or not self._entries:
            loop.call_soon(self._send)  # together with what comes in the same step
        self._entries.append(entry)
        return entry

    def _drop(self) -> asyncio.Future[None]:
        """Count an event that there is no memory for, and leave a gap in its place."""
        if self.dropped_writes == self._dropped_before:
            self._stalled = True  # by a disk that is slow, if it is not full
            _log.error("events are dropped: too many writes wait", pending=len(self._entries))
        self.dropped_writes += 1
        gap = self._entries[-1]
        if not gap.missing or len(self._entries) == self._sent:
            gap = self._append(lambda db: event_queries.add_gap(db, gap.missing), posted=True)
            resolve(gap.outcome, None)
        gap.missing += 1
        return gap.outcome

    def _send(self) -> None:
        """Give the database the first writes; it keeps them all, but for what fails by itself."""
        if self._sent:
            return
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        jobs = [entry.job for entry in itertools.islice(self._entries, _SENT_AT_ONCE)]
        self._sent = len(jobs)
        sent = self._database.write(lambda db: [attempt(db, job) for job in jobs])
        sent.add_done_callback(self._on_outcome)

    def _on_outcome(self, sent: asyncio.Future[list[Any]]) -> None:
        self._sent = 0
        if (error := sent.exception()) is not None:
            self._let_wait(error)
            return
        for outcome in sent.result():
            try:
                self._finish(self._entries.popleft(), outcome)
            except Exception:  # those behind it go on
                _log.exception("unhandled exception", task="journal queue")
        if self._entries:
            self._send()
        elif self._stalled:
            self._stalled = False
            dropped, self._dropped_before = self._dropped_before, self.dropped_writes
            _log.warning("journal written again", dropped_writes=self.dropped_writes - dropped)

    def _finish(self, entry: _Entry, outcome: Any) -> None:
        resolve(entry.outcome, None if entry.posted else outcome)
        if isinstance(outcome, Failed):
            if entry.posted:
                _log.error("journal write failed", exc_info=outcome.error)
        elif entry.missing:
            self._feed.skip(outcome)
        elif isinstance(outcome, EventRecord):
            self._feed.publish(outcome)

    def _let_wait(self, error: BaseException) -> None:
        """Keep what was posted until there is room; who waits for a write gets the error."""
        for entry in self._entries:
            resolve(entry.outcome, None if entry.posted else Failed(error))
        self._entries = collections.deque(entry for entry in self._entries if entry.posted)
        if self._entries:
            if not self._stalled:
                self._stalled = True
                _log.warning("journal cannot be written, its writes wait", error=repr(error))
            self._retry = asyncio.get_running_loop().call_later(self._retry_s, self._send)
