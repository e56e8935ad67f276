"""Writes to the database, in their order, also when the disk is full for a while.

Invariants:

- What was posted is written in the order of posting, and once. It stays in the queue until it is on
  disk; what finds the disk full waits there, and whatever comes later waits behind it.
- Memory is bounded. When `MAX_PENDING` writes are in the queue, events are dropped, counted, and
  leave a gap in the events' numbers, which readers see. The beginning and the end of
  a capture and deletions are never dropped: see `overfull`.
"""

import asyncio
import collections
import contextlib
import itertools
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog

from camsvc.model.records import EventRecord
from camsvc.storage import event_queries
from camsvc.storage.connections import is_full
from camsvc.storage.database import Database
from camsvc.storage.event_feed import EventFeed
from camsvc.tasks import keep_running

T = TypeVar("T")

Job = Callable[[sqlite3.Connection], tuple[T, EventRecord | None]]
"""What a write does: it returns its result, and the event that readers are given."""

RETRY_S = 1.0
"""How often a flush is tried while the disk is full."""

MAX_PENDING = 10_000
"""Some 10 MB: the events of a busy rig in several minutes."""

_FLUSHED_AT_ONCE = 200

_log = structlog.get_logger()


class _OvertakenError(Exception):
    """A write did not run, since one before it has failed."""


@dataclass(eq=False, slots=True)
class _Entry:
    """A write in the queue."""

    job: Job[None]
    handled: "asyncio.Future[None]"
    """For who has posted it: done as soon as it is on disk, or waits for room."""
    sent: "asyncio.Future[tuple[None, EventRecord | None]] | None" = None
    """Its outcome, while the database has it. None: it waits."""
    job_error: BaseException | None = None
    """What the job itself has raised last: trying it again would raise it again."""
    missing: int = 0
    """Of a gap: the events that were dropped in this place."""
    last_missing: int = 0
    """Of a gap: the number that the last of them would have had."""


class WriteQueue:
    """The way to the database, and of the events that were committed to their readers."""

    def __init__(
        self,
        database: Database,
        feed: EventFeed,
        *,
        retry_s: float,
        max_pending: int,
    ) -> None:
        self._database = database
        self._feed = feed
        self._retry_s = retry_s
        self._max_pending = max_pending
        self._entries: collections.deque[_Entry] = collections.deque()
        self._waiting = 0
        """Those of them that the database does not have. They are the last ones, while no flush is
        under way."""
        self._epoch = 0
        """The batches that had failed when nothing was sent: when there are more, what was sent
        since must not run, as it may follow what has failed."""
        self._some_wait = asyncio.Event()
        self._flush_now = asyncio.Event()
        self._flushed: asyncio.Future[BaseException | None] = self._new_flush()
        self._stalled = False
        self.dropped_writes = 0
        """Events dropped since the start."""
        self._dropped_before = 0
        """How many of them before the disk was full this time."""
        self._task = asyncio.create_task(
            keep_running("journal flush", self._run), name="journal flush"
        )

    @property
    def pending(self) -> int:
        """How many posted writes are not on disk yet."""
        return len(self._entries)

    @property
    def overfull(self) -> bool:
        """Whether no capture may begin: what cannot be dropped has filled the queue once more."""
        return len(self._entries) >= 2 * self._max_pending

    def post(self, job: Job[None], *, droppable: bool = False) -> "asyncio.Future[None]":
        """Write what nobody has to wait for. What finds the disk full is written later.

        The future is done as soon as it is one or the other. It never fails.
        """
        entry = _Entry(job, asyncio.get_running_loop().create_future())
        if droppable and len(self._entries) >= self._max_pending:
            self._drop()
            entry.handled.set_result(None)
            return entry.handled
        if not self._entries:
            self._epoch = self._database.failed_batches
        self._entries.append(entry)
        if self._waiting:
            self._let_wait(entry)
        else:
            self._send(entry)
        return entry.handled

    async def write(self, job: Job[T]) -> T:
        """Write behind all that was posted, and return the result once it is on disk.

        A caller that leaves does not take the job back.

        Raises:
            OSError, sqlite3.Error: it cannot be written now, or what was posted before cannot.
            Exception: whatever else the job raises.
        """
        while True:
            await self.flush()
            if not self._entries:
                self._epoch = self._database.failed_batches
            future = self._database.write(self._in_order(job))
            future.add_done_callback(self._publish)
            with contextlib.suppress(_OvertakenError):
                result, _ = await asyncio.shield(future)
                return result

    async def flush(self) -> None:
        """Write what waits, in its order; what comes meanwhile waits behind it.

        Raises:
            OSError, sqlite3.Error: there still is no room for it.
        """
        if self._waiting:
            self._flush_now.set()
            error = await asyncio.shield(self._flushed)
            if error is not None:
                raise error

    async def close(self) -> None:
        """Try once more to write what waits; what cannot be written is lost, and logged."""
        if sent := self._sent():
            await asyncio.wait(sent)
        with contextlib.suppress(Exception):  # what it is about was logged
            await self.flush()
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._entries:
            _log.error(
                "writes lost at the end: there is no room on the disk",
                lost_writes=len(self._entries),
                dropped_writes=self.dropped_writes - self._dropped_before,
            )

    # Internals.

    def _in_order(self, job: Job[T], entry: _Entry | None = None) -> Job[T]:
        """Return a job that does not run where one that was sent before it has failed."""
        epoch = self._epoch

        def run(db: sqlite3.Connection) -> tuple[T, EventRecord | None]:
            if self._database.failed_batches != epoch:
                raise _OvertakenError
            try:
                return job(db)
            except Exception as error:
                if entry is not None:
                    entry.job_error = error
                raise

        return run

    def _send(self, entry: _Entry) -> None:
        entry.sent = self._database.write(self._in_order(entry.job, entry))
        entry.sent.add_done_callback(partial(self._on_outcome, entry))

    def _on_outcome(
        self, entry: _Entry, future: "asyncio.Future[tuple[None, EventRecord | None]]"
    ) -> None:
        entry.sent = None
        error = future.exception()
        if error is None or (error is entry.job_error and not is_full(error)):
            self._entries.remove(entry)  # the first one, but for those that wait
            self._publish(future)
            if error is not None:
                _log.error("journal write failed", exc_info=error)
            elif entry.missing:
                self._feed.skip(entry.last_missing)
            if self._stalled and not self._entries:
                self._stalled = False
                dropped, self._dropped_before = self._dropped_before, self.dropped_writes
                _log.warning("journal written again", dropped_writes=self.dropped_writes - dropped)
        else:
            if not self._stalled and not isinstance(error, _OvertakenError):
                self._stalled = True
                _log.warning("journal cannot be written, its writes wait", error=repr(error))
            self._let_wait(entry)
        if not entry.handled.done():
            entry.handled.set_result(None)

    def _publish(self, future: "asyncio.Future[tuple[T, EventRecord | None]]") -> None:
        if future.exception() is None and (event := future.result()[1]) is not None:
            self._feed.publish(event)

    def _let_wait(self, entry: _Entry) -> None:
        self._waiting += 1
        self._some_wait.set()
        if not entry.handled.done():
            entry.handled.set_result(None)

    def _drop(self) -> None:
        """Count an event that there is no memory for, and leave a gap in its place."""
        if self.dropped_writes == self._dropped_before:
            self._stalled = True  # by a disk that is slow, if it is not full
            _log.error("events are dropped: too many writes wait", pending=len(self._entries))
        self.dropped_writes += 1
        last = self._entries[-1]
        if not last.missing or last.sent is not None:
            gap = _Entry(lambda db: _add_gap(db, gap), asyncio.get_running_loop().create_future())
            self._entries.append(gap)
            self._let_wait(gap)
            last = gap
        last.missing += 1

    async def _run(self) -> None:
        """Flush when something waits: when asked to, else from time to time."""
        while True:
            await self._some_wait.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._retry_s):
                    await self._flush_now.wait()
            self._flush_now.clear()
            error: BaseException | None = None
            try:
                error = await self._send_waiting()
                if not self._waiting:
                    self._some_wait.clear()
            except BaseException as unforeseen:
                error = unforeseen
                raise
            finally:
                flushed, self._flushed = self._flushed, self._new_flush()
                flushed.set_result(error)

    def _new_flush(self) -> "asyncio.Future[BaseException | None]":
        return asyncio.get_running_loop().create_future()

    async def _send_waiting(self) -> BaseException | None:
        """Send what waits until nothing does; return the error that is in the way, if one is."""
        while self._waiting:
            if sent := self._sent():
                await asyncio.wait(sent)  # they may come to wait, too, and are the first ones then
            self._epoch = self._database.failed_batches
            first = list(itertools.islice(self._entries, _FLUSHED_AT_ONCE))
            self._waiting -= len(first)
            for entry in first:
                self._send(entry)
            sent = self._sent()
            await asyncio.wait(sent)
            for entry, future in zip(first, sent, strict=True):
                if self._entries and self._entries[0] is entry:  # and all after it wait again
                    error = future.exception()
                    if not isinstance(error, _OvertakenError):
                        return error
        return None

    def _sent(self) -> "list[asyncio.Future[tuple[None, EventRecord | None]]]":
        return [entry.sent for entry in self._entries if entry.sent is not None]


def _add_gap(db: sqlite3.Connection, gap: _Entry) -> tuple[None, None]:
    gap.last_missing = event_queries.add_gap(db, gap.missing)
    return None, None
