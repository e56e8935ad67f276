"""Captures and their events, kept: store and journal together, in the order that loses nothing.

A picture's way: the worker writes it to a staging file and syncs that; here it is renamed into its
dated folder, the folder is synced, its row and its event are committed together, and only then is
the capture acknowledged. Going the other way, the row is deleted and the file's deletion noted in
one commit, and only then is the file deleted. So after an end at any instant:

- every row that says SUCCEEDED has a whole file;
- a file without a row was never acknowledged, or was to be deleted;
- what is in staging belongs to nobody.

`open` puts right what an end in between has left. Nothing here blocks the event loop.
"""

import asyncio
import collections
import contextlib
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

import structlog

from camsvc.ipc.messages import part_path
from camsvc.model.errors import CameraBusy, CameraUnavailable, CaptureNotFound, StorageFull
from camsvc.model.records import CaptureRecord, CaptureState, EventRecord, Filter
from camsvc.storage import queries as rows
from camsvc.storage.data_dir import ArchiveError, open_folder
from camsvc.storage.database import Database
from camsvc.storage.deletion import Deletion
from camsvc.storage.event_feed import EventFeed, Gap, Heartbeat
from camsvc.storage.files import FileStore
from camsvc.storage.image_reader import ImageReader, open_to_read
from camsvc.storage.reconcile import end, reconcile
from camsvc.storage.write_queue import DISK_ERRORS, RETRY_S, WriteQueue, is_full

__all__ = ["Archive", "ArchiveError"]

_log = structlog.get_logger()

_FIRST_PICTURE_BYTES = 8 << 20
"""Room that a camera's picture is taken to need before the first one has shown its size."""

_ROOM_FACTOR = 2
"""Times the largest picture so far: the next one may be larger."""

_MOST_WAITING = 1000
"""Writes that may wait for a slow disk before those who cause them wait, too."""


class Archive:
    """The data folder. Make one with `open`. Methods must be called on the event loop."""

    def __init__(
        self, store: FileStore, database: Database, lock: int, feed: EventFeed, reserve_bytes: int
    ) -> None:
        self._store = store
        self._database = database
        self._queue = WriteQueue(database, feed)
        self._lock = lock
        self._feed = feed
        self._reserve_bytes = reserve_bytes
        self._largest: dict[str, int] = {}
        self._in_use: collections.Counter[str] = collections.Counter()
        self._removal = Deletion(store, self._queue)
        self.total_bytes = 0
        """What all pictures kept take; see `count`."""
        self.on_stored: Callable[[], None] = lambda: None

    @classmethod
    async def open(cls, folder: Path, reserve_bytes: int = 0) -> Self:
        """Open the data folder, made when missing, and put right what a sudden end has left.

        Raises:
            ArchiveError: it is of no use.
        """
        store = FileStore(folder)
        database, lock = await asyncio.to_thread(open_folder, store, folder)
        try:
            await database.write(lambda db: reconcile(db, store))
            _, last_sequence = await database.read(rows.event_span)
        except BaseException as error:
            await database.close()
            os.close(lock)
            if isinstance(error, DISK_ERRORS):
                raise ArchiveError(f"the data folder {folder} cannot be used: {error}") from error
            raise
        archive = cls(store, database, lock, EventFeed(database, last_sequence), reserve_bytes)
        await archive.count()
        return archive

    async def close(self) -> None:
        """Let what is being written end, then close everything."""
        await self._removal.close()
        await self._queue.close()
        await self._database.close()
        os.close(self._lock)

    # For the cameras.

    def staging_path(self, capture_id: str, attempt: int) -> str:
        """Return the name of a new file for a worker to write a picture to."""
        return str(self._store.staging_path(capture_id, attempt))

    def discard(self, staged: str) -> None:
        """Delete what a worker may have written to a staging file."""

        def job(db: sqlite3.Connection) -> tuple[None, None]:
            self._store.discard(staged)
            return None, None

        self._queue.post(job)

    async def find_by_request_id(self, camera: str, request_id: str) -> CaptureRecord | None:
        """Return the capture that a request id has led to, if it is kept.

        Raises:
            StorageFull: there is none, and no room for another picture.
        """
        record, free_bytes = await self._database.read(
            lambda db: (
                rows.by_request(db, camera, request_id) if request_id else None,
                self._store.free_bytes(),
            )
        )
        largest = self._largest.get(camera, _FIRST_PICTURE_BYTES // _ROOM_FACTOR)
        needed = self._reserve_bytes + _ROOM_FACTOR * largest
        if record is None and free_bytes < needed:
            raise _full(camera, f"{free_bytes:,} bytes are free and {needed:,} are needed")
        return record

    def begin(self, record: CaptureRecord, event: EventRecord | None) -> None:
        """Keep a capture that was accepted, with the event of it if there is one."""

        def job(db: sqlite3.Connection) -> tuple[None, EventRecord | None]:
            if rows.capture(db, record.capture_id) is None:  # else it was owed, and has ended
                rows.add_capture(db, record)
            return None, rows.add_event(db, event) if event else None

        self._queue.post(job)

    def note(self, event: EventRecord) -> None:
        """Keep an event."""
        self._queue.post(lambda db: (None, rows.add_event(db, event)))

    async def wait_for_backlog(self) -> None:
        """Wait while the disk is far behind: whoever causes many events is slowed down by it."""
        if self._database.backlog > _MOST_WAITING:
            with contextlib.suppress(*DISK_ERRORS):  # whoever writes is told
                await self._database.write(lambda db: None)

    async def succeed(self, record: CaptureRecord, staged: str) -> CaptureRecord:
        """Keep a capture's files for good; return the record as it is kept.

        `staged` is the first one's place. Their `path`s are set here; `store_s` and `total_s` grow
        by what it takes.

        Raises:
            StorageFull, CameraUnavailable: it cannot be kept. No part of it is.
        """
        started = time.monotonic()
        places: list[str] = []
        assert record.image is not None

        def job(db: sqlite3.Connection) -> tuple[tuple[CaptureRecord, int], EventRecord]:
            for number, file in enumerate(record.files):
                source = Path(part_path(staged, number))
                about = (record.capture_id, record.create_time_ns, file.mime_type, number)
                places.append(self._store.keep(source, *about))
            image, *others = [
                replace(file, path=place) for file, place in zip(record.files, places, strict=True)
            ]
            spent_s = time.monotonic() - started
            kept = replace(
                record,
                state=CaptureState.SUCCEEDED,
                image=image,
                others=tuple(others),
                store_s=record.store_s + spent_s,
                total_s=record.total_s + spent_s,
            )
            event = end(db, kept)
            return (kept, rows.total_bytes(db)), event

        try:
            await self._queue.pay()  # its beginning may be owed
            (kept, self.total_bytes), _ = await self._queue.write(job)
        except DISK_ERRORS as error:
            # In the picture's own thread's turn: it may have been renamed already, or not.
            await asyncio.to_thread(self._discard, staged, places)
            if is_full(error):
                raise _full(record.camera, "there is no more room for its picture") from error
            _log.error("picture not kept", capture=record.capture_id, error=str(error))
            raise CameraUnavailable(
                f"camera {record.camera!r}: its picture could not be written to disk; see the "
                "service's log",
                retry_after_s=RETRY_S,
                metadata={"camera": record.camera},
            ) from error
        self._largest[record.camera] = max(kept.size_bytes, self._largest.get(record.camera, 0))
        self.on_stored()
        return kept

    def end(self, record: CaptureRecord) -> "asyncio.Future[None]":
        """Keep that a capture has FAILED or was CANCELLED.

        The future is done once that is kept, or will be when there is room again. It never fails.
        """
        return self._queue.post(lambda db: (None, end(db, record)))

    # For clients.

    async def capture(self, capture_id: str) -> CaptureRecord:
        """Return one capture.

        Raises:
            CaptureNotFound: it is not kept.
        """
        record = await self._database.read(lambda db: rows.capture(db, capture_id))
        if record is None:
            raise _not_found(capture_id)
        return record

    async def page(
        self, chosen: Filter, *, before: tuple[int, int] | None, limit: int
    ) -> list[tuple[tuple[int, int], CaptureRecord]]:
        """Return captures, newest first, each with its position; see `queries.page`."""
        return await self._database.read(
            lambda db: rows.page(db, chosen, before=before, limit=limit)
        )

    async def delete(self, capture_id: str) -> None:
        """Delete a capture with its picture; its events stay.

        Raises:
            CaptureNotFound: it is not kept.
            CameraBusy: it is RUNNING.
        """
        record = await self.capture(capture_id)
        if record.state is CaptureState.RUNNING:
            raise CameraBusy(
                f"capture {capture_id!r} is RUNNING and can be deleted when it has ended",
                retry_after_s=1.0,
                metadata={"camera": record.camera, "capture_id": capture_id},
            )
        await self._removal.remove([record])
        await self.count()

    async def prune(
        self,
        *,
        before_time_ns: int | None = None,
        excess_bytes: int = 0,
        without_label: tuple[str, str] | None = None,
        limit: int = 100,
    ) -> int:
        """Delete up to `limit` of the oldest captures; return how many went.

        Those created before a time, or as many as free `excess_bytes`; never one that is being
        read, nor one with that label (of that value, or with "" of any).
        """
        oldest = await self._database.read(
            lambda db: rows.oldest(
                db,
                before_time_ns=before_time_ns,
                without_label=without_label,
                without=list(self._in_use),
                limit=limit,
            )
        )
        if before_time_ns is None:
            oldest = list(_worth(oldest, excess_bytes))
        await self._removal.remove(oldest)
        await self.count()
        return len(oldest)

    async def trim_events(self, *, before_time_ns: int | None, keep: int, limit: int = 1000) -> int:
        """Delete up to `limit` of the oldest events; return how many went."""

        def job(db: sqlite3.Connection) -> tuple[int, int]:
            gone = rows.trim_events(db, before_time_ns=before_time_ns, keep=keep, limit=limit)
            return gone, rows.event_span(db)[0]

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

        `choose` gives the number of the file that is wanted of the capture's.

        Raises:
            CaptureNotFound: there is no such picture. Whatever else `choose` raises.
        """
        self._in_use[capture_id] += 1
        try:
            record = await self.capture(capture_id)
            if record.image is None:
                raise CaptureNotFound(
                    f"capture {capture_id!r} has no picture: it is {record.state.value}",
                    metadata={"camera": record.camera, "capture_id": capture_id},
                )
            image = record.files[choose(record)]
            try:
                fd = await open_to_read(lambda: self._store.path(image.path))
            except FileNotFoundError:
                raise _not_found(capture_id) from None
        except BaseException:
            self._release(capture_id)
            raise
        return ImageReader(record, image, fd, lambda: self._release(capture_id))

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
        """Return this journal's own secret, which tells its page tokens from made-up ones."""
        return await self._database.read(rows.secret)

    async def count(self) -> None:
        """Bring `total_bytes` up to date."""
        self.total_bytes = await self._database.read(rows.total_bytes)

    def free_bytes(self) -> int:
        """Return what is free where the pictures lie. Blocks: not for the event loop."""
        return self._store.free_bytes()

    @property
    def backlog(self) -> int:
        """How many writes wait for the disk."""
        return self._database.backlog

    # How it is done.

    def _discard(self, staged: str, places: list[str]) -> None:
        self._store.discard(staged)
        for place in places:
            self._store.delete(place)

    def _release(self, capture_id: str) -> None:
        self._in_use[capture_id] -= 1
        if not self._in_use[capture_id]:
            del self._in_use[capture_id]


def _worth(records: list[CaptureRecord], excess_bytes: int) -> "list[CaptureRecord]":
    """Return the first records, as many as take `excess_bytes` together."""
    chosen: list[CaptureRecord] = []
    for record in records:
        if excess_bytes <= 0:
            break
        chosen.append(record)
        excess_bytes -= record.size_bytes
    return chosen


def _full(camera: str, why: str) -> StorageFull:
    return StorageFull(
        f"camera {camera!r}: no room for another picture: {why}; delete captures, or make room on "
        "the service's disk",
        metadata={"camera": camera},
    )


def _not_found(capture_id: str) -> CaptureNotFound:
    return CaptureNotFound(
        f"capture {capture_id!r} is not kept: it was never taken here, was deleted, or has been "
        "outlived",
        metadata={"capture_id": capture_id},
    )
