"""The data folder: its parts put together, and what clients and retention want of it.

Nothing here blocks the event loop.
"""

import asyncio
import contextlib
import math
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Self

from camsvc.model.errors import CameraBusy, CaptureNotFound, StorageUnavailable
from camsvc.model.records import CaptureRecord, CaptureState, Filter
from camsvc.model.retry_hint import RUNNING_CAPTURE_S
from camsvc.storage import age_queries, data_folder, event_queries
from camsvc.storage import queries as rows
from camsvc.storage.age_floors import KnownAges
from camsvc.storage.capture_store import CaptureStore
from camsvc.storage.database import Database
from camsvc.storage.deletion import Deletion
from camsvc.storage.disk_check import DiskCheck
from camsvc.storage.disk_errors import DISK_ERRORS
from camsvc.storage.disk_space import DiskSpace
from camsvc.storage.event_feed import EventFeed
from camsvc.storage.files import FileStore
from camsvc.storage.image_reader import ImageReader, not_found, opened
from camsvc.storage.protected import Protected
from camsvc.storage.reconcile import reconcile
from camsvc.storage.schema import UnusableDatabase
from camsvc.storage.staged_shot import Staging
from camsvc.storage.threads import Threads
from camsvc.storage.unkept import UnkeptPictures
from camsvc.storage.write_queue import MAX_PENDING, RETRY_S, WriteQueue

_READERS = 16
"""Threads that read pictures, made when they are needed."""


class ArchiveError(Exception):
    """The data folder cannot be used; the message says why and what to do."""


class Archive:
    """The data folder. Make one with `open`. Methods must be called on the event loop."""

    def __init__(
        self,
        captures: CaptureStore,
        events: EventFeed,
        *,
        known_ages: KnownAges,
        first_numbers: tuple[int, int],
    ) -> None:
        self.captures = captures
        """What the cameras need of it."""
        self.events = events
        self.queue = captures.queue
        self.space = captures.space
        self.disk = captures.disk
        self.known_ages = known_ages
        """What was kept of ages when this was opened."""
        self.first_numbers = first_numbers
        """The newest capture's and event's when this was opened."""
        self._store = captures.store
        self._database = captures.database
        self._deletion = captures.deletion
        self._protected = captures.protected
        self._staging = captures.staging
        self._readers = Threads("picture-read", _READERS)

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

        `reserve_bytes` stay free; no capture is pruned for `min_age_s` after its acknowledgement,
        and a picture that could not be kept is held as long for its retry; every `retry_s` what
        found the disk full is tried again, of which `max_pending` writes are kept before events are
        dropped.

        Raises:
            ArchiveError: the folder cannot be used.
        """
        store = FileStore(folder)
        database = await asyncio.to_thread(_open_folder, store, folder)
        space = DiskSpace(store, database, reserve_bytes)
        disk = DiskCheck(store, database)
        try:
            known, numbers = await database.read(
                lambda db: (age_queries.known_ages(db), age_queries.last_numbers(db))
            )
            await database.write(lambda db: reconcile(db, store))
            _, last_sequence = await database.read(event_queries.event_span)
            await space.refresh()
            notes = await asyncio.to_thread(store.notes)
        except BaseException as error:
            await database.close()
            store.close()
            if isinstance(error, (*DISK_ERRORS, StorageUnavailable)):
                raise ArchiveError(f"the data folder {folder} cannot be used: {error}") from error
            raise
        events = EventFeed(database, last_sequence)
        queue = WriteQueue(database, events, retry_s=retry_s, max_pending=max_pending)
        unkept = UnkeptPictures(store, disk, min_age_s)
        unkept.restore(notes)
        captures = CaptureStore(
            store=store,
            database=database,
            queue=queue,
            space=space,
            deletion=Deletion(store, queue),
            protected=Protected(min_age_s),
            disk=disk,
            unkept=unkept,
            staging=Staging(store, disk),
        )
        return cls(captures, events, known_ages=known, first_numbers=numbers)

    async def close(self) -> None:
        """Let what is being written end, then close everything. No worker may write any more."""
        await self._staging.threads.close()
        await self._readers.close()
        await self._deletion.close()
        await self.queue.close()
        await self._database.close()
        with contextlib.suppress(OSError):  # the next start does it
            await asyncio.to_thread(self._store.sweep)
        self._store.close()

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
        self,
        filters: Filter,
        *,
        before: tuple[int, int] | None,
        limit: int,
        max_bytes: float = math.inf,
    ) -> tuple[list[tuple[tuple[int, int], CaptureRecord]], bool]:
        """Return captures, newest first, each with its position; see `queries.page`."""
        return await self._database.read(
            lambda db: rows.page(db, filters, before=before, limit=limit, max_bytes=max_bytes)
        )

    async def delete(self, capture_id: str) -> None:
        """Delete a capture with its picture; its events stay.

        Raises:
            CaptureNotFound: it is not kept.
            CameraBusy: it is RUNNING.
            StorageFull: as `Deletion.delete` does.
        """
        record = await self.capture(capture_id)
        if record.state is CaptureState.RUNNING:
            raise CameraBusy(
                f"capture {capture_id!r} is RUNNING and can be deleted when it has ended",
                retry_after_s=RUNNING_CAPTURE_S,
                metadata={"camera": record.camera, "capture_id": capture_id},
            )
        await self._deletion.delete([record])
        await self.space.refresh()

    async def prune(
        self,
        *,
        before: tuple[int, int] | None = None,
        excess_bytes: float = 0,
        without_label: tuple[str, str] | None = None,
        limit: int = 100,
    ) -> int:
        """Delete up to `limit` of the oldest captures; return how many went.

        Those created before a time and before the capture of a number, or as many as free
        `excess_bytes`; never one that is protected (see `protected`), nor one with that label (of
        that value, or with "" of any).
        """
        if self._protected.everything:
            return 0
        oldest = await self._database.read(
            lambda db: rows.oldest(
                db,
                before=before,
                without_label=without_label,
                without=self._protected.ids(),
                limit=limit,
            )
        )
        # One may have been acknowledged again since.
        protected = set(self._protected.ids())
        chosen: list[CaptureRecord] = []
        for record in oldest:
            if before is None and excess_bytes <= 0:
                break
            if record.capture_id not in protected:
                chosen.append(record)
                excess_bytes -= record.size_bytes
        await self._deletion.delete(chosen)
        await self.space.refresh()
        return len(chosen)

    async def first_created(self, *, since_ns: int, until_ns: int) -> int | None:
        """Return the lowest number of a capture created between two times; None: there is none."""
        return await self._database.read(
            lambda db: age_queries.first_created(db, since_ns=since_ns, until_ns=until_ns)
        )

    async def last_numbers(self) -> tuple[int, int]:
        """Return the numbers of the newest capture and event there ever were; 0: there was none."""
        return await self._database.read(age_queries.last_numbers)

    async def keep_ages(self, known: KnownAges) -> None:
        """Keep what is known of ages, for the next start."""
        await self._database.write(lambda db: age_queries.keep_ages(db, known))

    async def trim_events(
        self,
        *,
        before_time_ns: int | None,
        keep: int,
        young: int,
        keep_bytes: float = math.inf,
        limit: int = 1000,
    ) -> int:
        """Delete up to `limit` of the oldest events; return how many went; see the query.

        Those from the sequence `young` on are not old, whatever their times say.
        """

        def job(db: sqlite3.Connection) -> tuple[int, int]:
            gone = event_queries.trim_events(
                db,
                before_time_ns=before_time_ns,
                keep=keep,
                limit=limit,
                young=young,
                keep_bytes=keep_bytes,
            )
            return gone, event_queries.event_span(db)[0]

        gone, oldest = await self._database.write(job)
        self.events.trimmed(oldest)
        return gone

    async def read(self, capture_id: str) -> bytes:
        """Return a picture's bytes.

        Raises:
            CaptureNotFound: there is no such picture.
        """
        async with self.open_image(capture_id) as reader:
            return await reader.read(0, reader.image.size_bytes)

    @contextlib.asynccontextmanager
    async def open_image(
        self, capture_id: str, choose: Callable[[CaptureRecord], int] = lambda record: 0
    ) -> AsyncIterator[ImageReader]:
        """Open a picture to read; it is read on for a time where it is deleted meanwhile.

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
        image = record.files[choose(record)]
        async with opened(self._store, self._readers, record, image) as reader:
            yield reader

    async def secret(self) -> bytes:
        """Return this database's own secret: by it, its page tokens differ from made-up ones."""
        return await self._database.read(rows.secret)


def _open_folder(store: FileStore, folder: Path) -> Database:
    """Return the database of a data folder, both made when missing, and lock it. Blocks."""
    try:
        data_folder.secure(folder)
        store.prepare()
    except data_folder.UnsafeFolder as error:
        raise ArchiveError(
            f"the data folder {folder} cannot be used: {error}; or choose another with "
            "--data-dir DIR or service.data_dir"
        ) from error
    except BlockingIOError as error:
        raise ArchiveError(
            f"the data folder {folder} is in use by another camsvc; stop that, or choose another "
            "with --data-dir DIR or service.data_dir"
        ) from error
    except OSError as error:
        raise ArchiveError(
            f"the data folder {folder} cannot be used: {error.strerror}; choose another with "
            "--data-dir DIR or service.data_dir"
        ) from error
    try:
        return Database(
            folder / data_folder.JOURNAL, before_batch=store.prepare, before_commit=store.sync
        )
    except UnusableDatabase as error:
        store.close()
        raise ArchiveError(f"the data folder {folder} cannot be used: {error}") from error
