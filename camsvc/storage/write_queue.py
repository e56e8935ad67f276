"""Writes to the journal, in their order, also when the disk is full for a while.

Invariant: what was posted is written in the order of posting. What finds the disk full is owed: it
stays in memory, and whatever comes later queues up behind it.
"""

import asyncio
import collections
import contextlib
import errno
import itertools
import sqlite3
from collections.abc import Callable
from typing import TypeVar

import structlog

from camsvc.model.records import EventRecord
from camsvc.storage.database import Database
from camsvc.storage.event_feed import EventFeed

T = TypeVar("T")

Job = Callable[[sqlite3.Connection], tuple[T, EventRecord | None]]
"""What a write does: it returns its result, and the event that readers are to be told."""

DISK_ERRORS = (OSError, sqlite3.Error)
"""What a write may fail with: the folders' sync with the first, the database with the second."""

RETRY_S = 1.0
"""How often what is owed is tried again."""

_MOST_OWED = 10_000
_PAID_AT_ONCE = 200
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_log = structlog.get_logger()


def is_full(error: BaseException) -> bool:
    """Whether a write has failed for want of room."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    return isinstance(error, OSError) and error.errno in _FULL


class WriteQueue:
    """The way to the journal, and of the events that were committed to their readers."""

    def __init__(self, database: Database, feed: EventFeed) -> None:
        self._database = database
        self._feed = feed
        self._owed: collections.deque[Job[object]] = collections.deque(maxlen=_MOST_OWED)
        self._timer: asyncio.TimerHandle | None = None
        self._paying = asyncio.Lock()
        self._payment: asyncio.Task[None] | None = None

    @property
    def owes(self) -> bool:
        """Whether anything waits for room on the disk."""
        return bool(self._owed)

    def write(self, job: Job[T]) -> "asyncio.Future[tuple[T, EventRecord | None]]":
        """Write, and hand the job's event on to the readers, whoever waits for it."""
        future = self._database.write(job)
        future.add_done_callback(self._publish)
        return future

    def _publish(self, future: "asyncio.Future[tuple[T, EventRecord | None]]") -> None:
        if not future.cancelled() and future.exception() is None:
            event = future.result()[1]
            if event is not None:
                self._feed.publish(event)

    def post(self, job: Job[None]) -> "asyncio.Future[None]":
        """Write what nobody has to wait for. What finds the disk full is owed, and written later.

        The future is done as soon as it is one or the other.
        """
        done = asyncio.get_running_loop().create_future()
        if self._owed:
            self.owe(job)  # behind what it follows
            done.set_result(None)
            return done

        def written(future: "asyncio.Future[tuple[None, EventRecord | None]]") -> None:
            error = None if future.cancelled() else future.exception()
            if error is not None and is_full(error):
                self.owe(job)
            elif error is not None:
                _log.error("journal write failed", exc_info=error)
            done.set_result(None)

        self.write(job).add_done_callback(written)
        return done

    def owe(self, job: Job[object]) -> None:
        """Write a job as soon as there is room again."""
        self._owed.append(job)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RETRY_S, self._pay_later)

    def _pay_later(self) -> None:
        async def pay() -> None:
            with contextlib.suppress(*DISK_ERRORS):
                await self.pay()
            self._timer = None
            if self._owed:
                self._timer = loop.call_later(RETRY_S, self._pay_later)

        loop = asyncio.get_running_loop()
        self._payment = asyncio.create_task(pay(), name="pay")

    async def pay(self) -> None:
        """Write what is owed, in its order; what comes meanwhile queues up behind it.

        Raises:
            OSError, sqlite3.Error: there still is no room for it.
        """
        async with self._paying:
            while self._owed:
                jobs = list(itertools.islice(self._owed, _PAID_AT_ONCE))
                outcomes = await asyncio.gather(*map(self.write, jobs), return_exceptions=True)
                for _ in jobs:
                    self._owed.popleft()
                unpaid = []
                for job, outcome in zip(jobs, outcomes, strict=True):
                    if not isinstance(outcome, BaseException):
                        continue
                    if is_full(outcome):
                        unpaid.append(job)
                        full = outcome
                    else:
                        _log.error("journal write failed", exc_info=outcome)
                if unpaid:
                    self._owed.extendleft(reversed(unpaid))
                    raise full

    async def close(self) -> None:
        """Try once more to write what is owed; what cannot be written is lost, and logged."""
        if self._timer is not None:
            self._timer.cancel()
        if self._payment is not None:
            await asyncio.wait([self._payment])
        with contextlib.suppress(*DISK_ERRORS):
            await self.pay()
        if self._owed:
            _log.error("no room for what has happened last", lost_writes=len(self._owed))
