"""The data folder: its parts put together, and what clients and retention want of it.

Nothing here blocks the event loop.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Self

from camsvc.model.errors import CaptureNotFound
from camsvc.model.records import CaptureRecord, EventRecord, Filter
from camsvc.storage import event_queries
from camsvc.storage import queries as rows
from camsvc.storage.capture_store import CaptureStore
from camsvc.storage.connections import DISK_ERRORS
from camsvc.storage.data_dir import ArchiveError, open_folder
from camsvc.storage.database import Database
from camsvc.storage.deletion import Deletion
from camsvc.storage.disk_space import DiskSpace
from camsvc.storage.event_feed import EventFeed, Gap, Heartbeat
from camsvc.storage.files import FileStore
from camsvc.storage.image_reader import ImageReader, not_found
from camsvc.storage.protected import Protected
from camsvc.storage.reconcile import reconcile
from camsvc.storage.write_queue import MAX_PENDING, RETRY_S, WriteQueue

__all__ = ["Archive", "ArchiveError"]


class Archive:
    """The data folder. Make one with `open`. Methods must be called on the event loop."""

    def __init__(
        self,
        *,
        store: FileStore,
        database: Database,
        lock: int,
        feed: EventFeed,
        queue: WriteQueue,
        space: DiskSpace,
        protected: Protected,
    ) -> None:
        self._store = store
        self._database = database
        self._lock = lock
        self._feed = feed
        self._queue = queue
        self._space = space
        self._protected = protected
        self._deletion = Deletion(store, database, queue, protected)
        self.captures = CaptureStore(
            store=store,
            database=database,
            queue=queue,
            space=space,
            deletion=self._deletion,
            protected=protected,
        )
        """What the cameras need of it."""

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        reserve_bytes: int = 0,
        min_age_s: float = 0.0,
        retry_s: float = RETRY_S,
        max_pending: int = MAX_PENDING,
    ) -> Self:
        """Open the data folder, made when missing, and reconcile what a sudden end has left.

        `reserve_bytes` stay free; no capture is pruned for `min_age_s` after it was acknowledged;
        every `retry_s` what found the disk full is tried again, of which `max_pending` writes are
        kept before events are dropped.

        Raises:
            ArchiveError: the folder cannot be used.
        """
        store = FileStore(folder)
        database, lock = await asyncio.to_thread(open_folder, store, folder)
        try:
            await database.write(lambda db: reconcile(db, store))
            _, last_sequence = await database.read(event_queries.event_span)
            total_bytes = await database.read(rows.total_bytes)
        except BaseException as error:
            await database.close()
            os.close(lock)
            if isinstance(error, DISK_ERRORS):
                raise ArchiveError(f"the data folder {folder} cannot be used: {error}") from error
            raise
        feed = EventFeed(database, last_sequence)
        return cls(
            store=store,
            database=database,
            lock=lock,
            feed=feed,
            queue=WriteQueue(database, feed, retry_s=retry_s, max_pending=max_pending),
            space=DiskSpace(store, reserve_bytes, total_bytes),
            protected=Protected(min_age_s),
        )

    async def close(self) -> None:
        """Let what is being written end, then close everything."""
        await self._deletion.close()
        await self._queue.close()
        await self._database.close()
        os.close(self._lock)

    # For clients.

    async def capture(self, capture_id: str) -> CaptureRecord:
        """Return one capture.

        Raises:
            CaptureNotFound: it is not kept.
        """
        record = await self._database.read(lambda db: rows.capture(db, capture_id))
        if record is None:
            raise not_found(capture_id)
        return record

    async def page(
        self, filters: Filter, *, before: tuple[int, int] | None, limit: int
    ) -> list[tuple[tuple[int, int], CaptureRecord]]:
        """Return captures, newest first, each with its position; see `queries.page`."""
        return await self._database.read(
            lambda db: rows.page(db, filters, before=before, limit=limit)
        )

    async def delete(self, capture_id: str) -> None:
        """Delete a capture with its picture; its events stay.

        Raises:
            CaptureNotFound: it is not kept.
            CameraBusy: it is RUNNING.
        """
        await self._deletion.delete(await self.capture(capture_id))
        await self.refresh_total()

    async def prune(
        self,
        *,
        before_time_ns: int | None = None,
        excess_bytes: int = 0,
        without_label: tuple[str, str] | None = None,
        limit: int = 100,
    ) -> int:
        """Delete up to `limit` of the oldest captures; return how many went.

        Those created before a time, or as many as free `excess_bytes`; never one that is protected
        (see `protected`), nor one with that label (of that value, or with "" of any).
        """
        deleted = await self._deletion.prune(
            before_time_ns=before_time_ns,
            excess_bytes=excess_bytes,
            without_label=without_label,
            limit=limit,
        )
        await self.refresh_total()
        return deleted

    async def trim_events(self, *, before_time_ns: int | None, keep: int, limit: int = 1000) -> int:
        """Delete up to `limit` of the oldest events; return how many went."""

        def job(db: sqlite3.Connection) -> tuple[int, int]:
            gone = event_queries.trim_events(
                db, before_time_ns=before_time_ns, keep=keep, limit=limit
            )
            return gone, event_queries.event_span(db)[0]

        gone, oldest = await self._database.write(job)
        self._feed.trimmed(oldest)
        return gone

    async def read(self, capture_id: str) -> bytes:
        """Return a picture's bytes.

        Raises:
            CaptureNotFound: there is no such picture.
        """
        async with await self.open_image(capture_id) as reader:
            return await reader.read(0, reader.size_bytes)

    async def open_image(
        self, capture_id: str, choose: Callable[[CaptureRecord], int] = lambda record: 0
    ) -> ImageReader:
        """Open a picture to read; while it is open, retention leaves it alone.

        `choose` returns which of the capture's files it is, by number.

        Raises:
            CaptureNotFound: there is no such picture. Whatever else `choose` raises.
        """
        record = await self.capture(capture_id)
        if record.image is None:
            raise CaptureNotFound(
                f"capture {capture_id!r} has no picture: it is {record.state.value}",
                metadata={"camera": record.camera, "capture_id": capture_id},
            )
        return await ImageReader.open(self._store, self._protected, record, choose(record))

    def follow(
        self, camera: str, after: int | None
    ) -> AsyncGenerator[EventRecord | Heartbeat | Gap, None]:
        """Yield events; see `EventFeed.follow`."""
        return self._feed.follow(camera, after)

    @property
    def last_sequence(self) -> int:
        """The newest event's number; 0 when there is none."""
        return self._feed.last_sequence

    def end_streams(self) -> None:
        """End the readers of events; for the end of the service."""
        self._feed.end()

    async def secret(self) -> bytes:
        """Return this database's own secret: by it, its page tokens differ from made-up ones."""
        return await self._database.read(rows.secret)

    @property
    def total_bytes(self) -> int:
        """What all pictures kept take; see `refresh_total`."""
        return self._space.total_bytes

    async def refresh_total(self) -> None:
        """Bring `total_bytes` up to date."""
        self._space.total_bytes = await self._database.read(rows.total_bytes)

    async def wait_until_larger(self, max_bytes: int) -> None:
        """Wait for a picture that is kept while all of them take more than that."""
        await self._space.wait_until_larger(max_bytes)

    def free_bytes(self) -> int:
        """Return what is free where the pictures are. Blocks: not for the event loop."""
        return self._space.free_bytes()

    @property
    def backlog(self) -> int:
        """How many writes wait for the disk: for their turn, or for room."""
        return max(self._database.backlog, self._queue.pending)

    @property
    def dropped_writes(self) -> int:
        """How many events were dropped since the start, since too much waited for room."""
        return self._queue.dropped_writes
