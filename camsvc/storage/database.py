"""One SQLite database, written by one thread and read by a few.

Invariants:

- A write is durable when its future has a result. It is one of a batch then, which costs one
  `fsync`: the thread takes all writes that wait, and commits them together.
- A write that raises is undone alone. When the batch cannot be committed, or one of its writes
  finds the disk full, none of it is kept, and every one of its futures has the error.
- Every write is answered, whatever happens in the thread.
- What was written stays where it is looked for: where the file is gone, it is put back.
- The event loop never waits for the disk.
"""

import asyncio
import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from sqlite3 import Connection
from threading import Thread
from typing import Any, TypeVar

import structlog

from camsvc.storage.disk_errors import DISK_ERRORS, is_full, is_ill, unavailable
from camsvc.storage.schema import UnusableDatabase, connect
from camsvc.system import posix, posix_access

T = TypeVar("T")
Job = Callable[[Connection], T]

_BATCH = 256
"""Writes that are committed together at most: more would make the first of them wait."""
_READERS = 3
LOG_BYTES = 8 << 20
"""Twice what SQLite itself lets the log grow to before it moves it into the database. It cannot
start the log over while any query is under way, which may be always."""
_PAGES_BACK = 256
"""Of 4 KiB each."""
_AWAY_S = 5.0
"""How long a query waits where the journal is being put back."""
_QUERY_S = 0.5
"""How long a query that is under way may keep the log from being emptied."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Failed:
    """In place of a job's result: what it raised."""

    error: BaseException


def attempt(db: Connection, job: Job[T]) -> T | Failed:
    """Return what a job returns, or what it raised, undone. Raise what fails its whole batch."""
    db.execute("SAVEPOINT job")
    try:
        outcome: T | Failed = job(db)
    except BaseException as error:
        # A later job that needs less of the disk must not be kept before this one.
        if is_full(error) or is_ill(error) or not db.in_transaction:
            raise
        db.execute("ROLLBACK TO job")
        outcome = Failed(error)
    db.execute("RELEASE job")
    return outcome


def resolve(future: asyncio.Future[Any], outcome: Any) -> None:
    """Give a future an outcome, unless it has one, or was cancelled."""
    if future.done():
        return
    if isinstance(outcome, Failed):
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome)


class _Write(asyncio.Future[T]):
    """A write's outcome. A failure that nobody has asked for is logged."""

    def __init__(self, job: Job[T]) -> None:
        super().__init__()
        self.job = job

    def __del__(self) -> None:
        if self._log_traceback:  # the base class would call it "never retrieved"
            self._log_traceback = False
            _log.error("journal write failed", exc_info=self.exception())


class Database:
    """The open database. `write`, `read` and `close` are for the event loop's thread."""

    def __init__(
        self,
        path: Path,
        *,
        before_commit: Callable[[], None],
        before_batch: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the database at `path`, made when missing. Blocks.

        `before_batch` and `before_commit` are called in the writer's thread, the first before
        anything is written: what they raise fails the batch.

        Raises:
            UnusableDatabase: it cannot be opened, made or written to, or is of a newer version.
        """
        self._path = path
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        self._connect()
        self._log = path.with_name(f"{path.name}-wal")
        self._log_limit = LOG_BYTES
        self._before_batch = before_batch
        self._before_commit = before_commit
        self._waiting: SimpleQueue[_Write[Any] | None] = SimpleQueue()
        self._closed = False
        self._pool = ThreadPoolExecutor(_READERS, "journal-read")
        # A daemon, so that a service that ends by an error is not kept alive by it.
        self._thread = Thread(target=self._work, name="journal-write", daemon=True)
        self._thread.start()

    def write(self, job: Job[T]) -> asyncio.Future[T]:
        """Queue a job for the next batch; its future has the job's result once that is durable.

        The job runs in the writer's thread, in a transaction that is not its to end. Cancelling
        the future does not take the job back. The future need not be awaited: an error of a job
        that nobody asks for is logged.
        """
        write = _Write(job)
        if self._closed:
            write.set_exception(UnusableDatabase("the journal is closed"))
        else:
            self._waiting.put(write)
        return write

    async def read(self, query: Job[T]) -> T:
        """Return what a query returns, in a reader's thread. It sees one state of the database.

        A query must be short: the log cannot be started over meanwhile.

        Raises:
            StorageUnavailable: the database cannot be read.
            Exception: whatever else the query raises.
        """
        if self._closed:
            raise UnusableDatabase("the journal is closed")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, self._query, query)
        except DISK_ERRORS as error:
            if is_ill(error) or isinstance(error, OSError):
                raise unavailable(error) from error
            raise

    async def close(self) -> None:
        """Let all queued writes and reads end, and close the database."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
            await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        self._thread.join()
        self._pool.shutdown()
        # The last connection's end moves the log into the database: the one that may write.
        for db in (*self._readers, self._writer):
            db.close()

    def _query(self, query: Job[T]) -> T:
        try:  # one for each thread, but for the moments of `_bound_log` and `_put_back`
            db = self._idle.get(timeout=_AWAY_S)
        except Empty:
            raise OSError(errno.EBUSY, "the journal is being put back") from None
        try:
            db.execute("BEGIN")
            return query(db)
        finally:
            db.rollback()
            self._idle.put(db)

    def _work(self) -> None:
        while self._work_batch():
            try:
                self._bound_log()
                self._give_back()
            except Exception:  # it is tried again with the next batch
                _log.exception("unhandled exception", task="journal")

    def _work_batch(self) -> bool:
        """Wait for writes, commit and answer them; return whether there is more to come."""
        batch, more = self._next_batch()
        if batch:
            outcomes = self._commit([write.job for write in batch])
            with contextlib.suppress(RuntimeError):  # the loop has ended without `close`
                batch[0].get_loop().call_soon_threadsafe(self._resolve, batch, outcomes)
        del batch  # the frames that an error keeps are this one too; see `_commit`
        return more

    def _next_batch(self) -> tuple[list[_Write[Any]], bool]:
        batch: list[_Write[Any]] = []
        write = self._waiting.get()
        with contextlib.suppress(Empty):
            while write is not None:
                batch.append(write)
                if len(batch) == _BATCH:
                    break
                write = self._waiting.get_nowait()
        return batch, write is not None

    def _commit(self, jobs: list[Job[Any]]) -> list[Any]:
        """Run jobs in one transaction; return their outcomes. Whatever happens, it returns.

        No future may be in the frames of this and what it calls: an error keeps them, and a
        future that its own error keeps is never collected, and its error never logged.
        """
        try:
            self._before_batch()
            self._put_back()
            self._writer.execute("BEGIN IMMEDIATE")
            outcomes = [attempt(self._writer, job) for job in jobs]
            self._before_commit()
            self._writer.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(Exception):
                self._writer.rollback()
            return [Failed(error)] * len(jobs)
        return outcomes

    def _resolve(self, batch: list[_Write[Any]], outcomes: list[Any]) -> None:
        """Give a batch's futures their outcomes, on the event loop."""
        for write, outcome in zip(batch, outcomes, strict=True):
            resolve(write, outcome)

    def _connect(self) -> None:
        self._writer, *self._readers = connect(self._path, 1 + _READERS)
        self._file = os.stat(self._path)
        self._connected = True
        for reader in self._readers:
            self._idle.put(reader)

    def _put_back(self) -> None:
        """Where the file was deleted, write all that is known to a new one in its place.

        Raises:
            OSError, sqlite3.Error: that cannot be done now.
        """
        if self._connected:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self._path), self._file):
                    return
                raise OSError(errno.ESTALE, "the journal was replaced; start the service again")
            copy = self._path.with_name(f"{self._path.name}.copy")
            copy.unlink(missing_ok=True)
            posix_access.make_private_file(copy)
            with contextlib.closing(sqlite3.connect(copy)) as db:
                self._writer.backup(db)
            copy.replace(self._path)
            posix.sync_folder(self._path.parent)
            # The last one that is closed removes the log by its name: there is no new one yet.
            self._connected = False
            for db in [*(self._idle.get() for _ in self._readers), self._writer]:
                db.close()
        try:
            self._connect()
        except UnusableDatabase as error:
            raise OSError(errno.EIO, "the journal cannot be put back") from error
        _log.error("journal was deleted, and is put back")

    def _bound_log(self) -> None:
        """Empty the log when it has grown, in a moment without queries.

        SQLite would wait for such a moment, but let new queries begin meanwhile. When a query
        outlasts the wait, it is tried again after the same growth, not at every batch.
        """
        if self._log_bytes() < self._log_limit:
            return
        held: list[Connection] = []
        try:
            for _ in self._readers:
                held.append(self._idle.get(timeout=_QUERY_S))
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except (Empty, sqlite3.Error) as error:
            _log.warning("journal checkpoint postponed", error=repr(error))
        finally:
            for reader in held:
                self._idle.put(reader)
        self._log_limit = self._log_bytes() + LOG_BYTES

    def _give_back(self) -> None:
        """Shorten the file by some of its free pages, where there are many.

        Not by all at once, which would keep the next batch waiting: with each batch, and there is
        one a second at least.
        """
        with contextlib.suppress(sqlite3.Error):  # a full disk, for one; the next batch tries again
            (free,) = self._writer.execute("PRAGMA freelist_count").fetchone()
            if free > 2 * _PAGES_BACK:
                # By `execute`, it would be one page.
                self._writer.executescript(f"PRAGMA incremental_vacuum({_PAGES_BACK})")

    def _log_bytes(self) -> int:
        with contextlib.suppress(OSError):
            return os.stat(self._log).st_size
        return 0
