"""One SQLite database, written by one thread and read by a few.

Invariants:

- A write is durable when its future has a result. It is one of a batch then, which costs one
  `fsync`: the thread takes all writes that wait, and commits them together.
- A write that raises is undone alone. When the batch cannot be committed, none of it is kept, and
  every one of its futures has the error.
- The event loop never waits for the disk.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from sqlite3 import Connection
from threading import Thread
from typing import Any, Self, TypeVar

import structlog

from camsvc.storage import queries

T = TypeVar("T")
Job = Callable[[Connection], T]

_BATCH = 256
"""Writes that are committed together at most: more would make the first of them wait."""
_READERS = 3
_LOCKED_S = 2.0
"""How long another program's write is waited for."""
_LOG_BYTES = 8 << 20
"""Twice what SQLite itself lets the log grow to before it moves it into the database. It cannot
start the log over while any query is under way, which may be always."""
_QUERY_S = 0.5
"""How long a query that is under way may keep the log from being emptied."""

_HINTS = {
    sqlite3.SQLITE_NOTADB: "is not a database; move it away to begin with an empty journal",
    sqlite3.SQLITE_CORRUPT: "is damaged; put a copy in its place, or move it away",
    sqlite3.SQLITE_READONLY: "cannot be written to; check the permissions of it and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check the permissions of it and its folder",
    sqlite3.SQLITE_FULL: "has no room; free some on its disk",
    sqlite3.SQLITE_BUSY: "is locked by another program",
}

_log = structlog.get_logger()


class UnusableDatabase(Exception):
    """The journal cannot be used: the message says why and, where it can, what to do."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """In place of a job's result: what it raised."""

    error: BaseException


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
    """The open journal. `write`, `read`, `backlog` and `close` are for the event loop's thread."""

    def __init__(
        self,
        writer: Connection,
        readers: list[Connection],
        log: Path,
        before_commit: Callable[[], None],
        on_commit: Callable[[], None],
    ) -> None:
        self._writer = writer
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        self._readers = readers
        for reader in readers:
            self._idle.put(reader)
        self._log = log
        self._log_limit = _LOG_BYTES
        self._before_commit = before_commit
        self._on_commit = on_commit
        self._waiting: SimpleQueue[_Write[Any] | None] = SimpleQueue()
        self._closed = False
        self._backlog = 0
        self._pool = ThreadPoolExecutor(len(readers), "journal-read")
        # A daemon, so that a service that ends by an error is not kept alive by it.
        self._thread = Thread(target=self._work, name="journal-write", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls, path: Path, *, before_commit: Callable[[], None], on_commit: Callable[[], None]
    ) -> Self:
        """Open the journal at `path`, made when missing. Blocks.

        `before_commit` is called in the writer's thread before each commit: what it raises fails
        the batch. `on_commit` is called on the event loop after each, once the batch's futures
        have their results.

        Raises:
            UnusableDatabase: it cannot be opened, made or written to, or is of a newer version.
        """
        with contextlib.ExitStack() as opened:
            try:
                path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
                writer = opened.enter_context(contextlib.closing(_connect(path)))
                _prepare(writer)
                readers = [
                    opened.enter_context(contextlib.closing(_connect(path)))
                    for _ in range(_READERS)
                ]
                for reader in readers:
                    reader.execute("PRAGMA query_only = ON")
            except OSError as error:
                why = error.strerror or error
                raise UnusableDatabase(
                    f"the journal's folder {path.parent} is no use: {why}"
                ) from error
            except sqlite3.Error as error:
                code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
                why = _HINTS.get(code, "cannot be opened")
                raise UnusableDatabase(f"the journal {path} {why} ({error})") from error
            opened.pop_all()
        log = path.with_name(f"{path.name}-wal")
        return cls(writer, readers, log, before_commit, on_commit)

    @property
    def backlog(self) -> int:
        """How many writes have no outcome yet."""
        return self._backlog

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
            self._backlog += 1
            self._waiting.put(write)
        return write

    async def read(self, query: Job[T]) -> T:
        """Return what a query returns, in a reader's thread. It sees one state of the journal.

        A query must be short: the log cannot be started over meanwhile.
        """
        if self._closed:
            raise UnusableDatabase("the journal is closed")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._query, query)

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
        db = self._idle.get()  # one for each thread, but for the moments of `_bound_log`
        try:
            db.execute("BEGIN")
            return query(db)
        finally:
            db.rollback()
            self._idle.put(db)

    def _work(self) -> None:
        while self._work_batch():
            self._bound_log()

    def _work_batch(self) -> bool:
        """Wait for writes and commit them; return whether there is more to come."""
        batch, more = self._next_batch()
        if batch:
            outcomes, committed = self._commit([write.job for write in batch])
            with contextlib.suppress(RuntimeError):  # the loop has ended without `close`
                loop = batch[0].get_loop()
                loop.call_soon_threadsafe(self._resolve, batch, outcomes, committed)
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

    def _commit(self, jobs: list[Job[Any]]) -> tuple[list[Any], bool]:
        """Run jobs in one transaction; return their outcomes and whether it was committed.

        No future may be in the frames of this and what it calls: an error keeps them, and a
        future that its own error keeps is never told that nobody has asked for it.
        """
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            outcomes = [self._attempt(job) for job in jobs]
            self._before_commit()
            self._writer.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                self._writer.rollback()
            return [_Failed(error)] * len(jobs), False
        return outcomes, True

    def _attempt(self, job: Job[Any]) -> Any:
        """Return a job's outcome; raise what fails the whole batch."""
        self._writer.execute("SAVEPOINT job")
        try:
            outcome = job(self._writer)
        except BaseException as error:
            if not self._writer.in_transaction:
                raise  # a full disk, for one: SQLite itself has rolled everything back
            self._writer.execute("ROLLBACK TO job")
            outcome = _Failed(error)
        self._writer.execute("RELEASE job")
        return outcome

    def _resolve(self, batch: list[_Write[Any]], outcomes: list[Any], committed: bool) -> None:
        """Give a batch's futures their outcomes, on the event loop."""
        for write, outcome in zip(batch, outcomes, strict=True):
            self._backlog -= 1
            if write.done():
                continue  # cancelled
            if isinstance(outcome, _Failed):
                write.set_exception(outcome.error)
            else:
                write.set_result(outcome)
        if committed:
            self._on_commit()

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
            _log.warning("journal checkpoint put off", error=repr(error))
        finally:
            for reader in held:
                self._idle.put(reader)
        self._log_limit = self._log_bytes() + _LOG_BYTES

    def _log_bytes(self) -> int:
        with contextlib.suppress(OSError):
            return os.stat(self._log).st_size
        return 0


def _connect(path: Path) -> Connection:
    # Each connection is used by one thread at a time, but opened and closed by others.
    db = sqlite3.connect(path, timeout=_LOCKED_S, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = FULL")
    return db


def _prepare(db: Connection) -> None:
    """Bring the database to the version that this code knows."""
    known = len(queries.MIGRATIONS)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > known:
        raise UnusableDatabase(
            f"the journal is of version {version}, and this camsvc knows up to {known};"
            " use a newer camsvc, or another folder"
        )
    db.execute("PRAGMA journal_mode = WAL")
    # Begun also where there is nothing to do: a journal that cannot be written to fails here.
    scripts = "".join(queries.MIGRATIONS[version:])
    db.executescript(f"BEGIN IMMEDIATE; {scripts} PRAGMA user_version = {known}")
    queries.make_secret(db)
    db.execute("COMMIT")
