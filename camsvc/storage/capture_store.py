"""Captures and their events as the cameras hand them over, kept in the order that loses nothing.

A picture's way: it is copied from its worker's memory to a staging file, and synced there (see
`staged_shot`). Then it is renamed into its dated folder, the folder is synced, its row and its
event are committed together, and only then is the capture acknowledged. Going the other way, the
row is deleted and the file's deletion noted in one commit, and only then is the file deleted. So
after an end at any instant:

- every row that says SUCCEEDED has a whole file;
- a file without a row was never acknowledged, or was to be deleted;
- what is in staging belongs to nobody, but for pictures that are noted as held for a retry (see
  `unkept`), which were not acknowledged.

`reconcile` ends at the next start what an end in between has left. Nothing here blocks the event
loop.
"""

import asyncio
import contextlib
import sqlite3
import time
import uuid
from dataclasses import dataclass, replace

import structlog

from camsvc.ipc.shared_memory import SharedBlock
from camsvc.model.errors import StorageUnavailable
from camsvc.model.records import CaptureRecord, CaptureState, EventRecord
from camsvc.storage import event_queries
from camsvc.storage import queries as rows
from camsvc.storage.database import Database
from camsvc.storage.deletion import Deletion
from camsvc.storage.disk_check import FRESH_S, DiskCheck
from camsvc.storage.disk_errors import DISK_ERRORS, is_full, storage_full, unavailable
from camsvc.storage.disk_space import DiskSpace
from camsvc.storage.files import FileStore, staged_name
from camsvc.storage.protected import Protected
from camsvc.storage.reconcile import end, end_if_running
from camsvc.storage.staged_shot import StagedShot, Staging
from camsvc.storage.unkept import UnkeptPicture, UnkeptPictures
from camsvc.storage.write_queue import WriteQueue

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureStore:
    """Keeps captures, files and rows together. Methods must be called on the event loop."""

    store: FileStore
    database: Database
    queue: WriteQueue
    space: DiskSpace
    deletion: Deletion
    protected: Protected
    disk: DiskCheck
    unkept: UnkeptPictures
    staging: Staging

    async def stage(self, capture_id: str, attempt: int, memory: SharedBlock) -> StagedShot:
        """Return the place for a shot, if it can be kept there: ask before the shutter.

        `memory` is its worker's.

        Raises:
            WorkerLost: the worker has ended.
            StorageFull, StorageUnavailable: it cannot.
        """
        await self.disk.require(FRESH_S)
        return await self.staging.shot(staged_name(capture_id, attempt), memory)

    async def find_by_request_id(self, camera: str, request_id: str) -> CaptureRecord | None:
        """Return the capture that a request id has led to, if it is kept, or can be by now."""
        record = await self._kept(camera, request_id)
        while record is None and (picture := self.unkept.find(camera, request_id)) is not None:
            await self._retry(picture)
            record = await self._kept(camera, request_id)
        if record is not None and not self.deletion.is_under_way(record.capture_id):
            self.protected.acknowledge(record.capture_id)
            return record
        return None

    async def require_room(self, camera: str) -> None:
        """Look whether another picture can be kept.

        Raises:
            StorageFull: there is no room for one.
            StorageUnavailable: none can be kept now.
        """
        if self.queue.overfull:
            raise storage_full(camera, "too much is still to be written of what has happened")
        self.space.check(camera, await self.disk.require())

    async def _kept(self, camera: str, request_id: str) -> CaptureRecord | None:
        if not request_id:
            return None
        return await self.database.read(lambda db: rows.by_request(db, camera, request_id))

    async def _retry(self, picture: UnkeptPicture) -> None:
        """Have a picture kept after all, or wait for the try that is under way."""
        task = picture.retry
        if task is None or task.done():
            task = asyncio.create_task(self._keep_after_all(picture), name="keep after all")
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
            picture.retry = task
        await asyncio.shield(task)

    async def _keep_after_all(self, picture: UnkeptPicture) -> None:
        """Keep a picture whose capture has FAILED, as a capture of its own, unless it was deleted.

        Raises: as `succeed`. It is held on then.
        """
        await self.disk.require()  # what is there can be seen only then
        if await asyncio.to_thread(self.unkept.put_back, picture):
            record = replace(picture.record, capture_id=str(uuid.uuid4()))
            await self.succeed(record, picture.staged)
        self.unkept.remove(picture)

    def begin(self, record: CaptureRecord, event: EventRecord | None) -> None:
        """Keep a capture that was accepted, with the event of it if there is one."""

        def job(db: sqlite3.Connection) -> EventRecord | None:
            if not rows.capture(db, record.capture_id):  # else it waited for room, and has ended
                rows.add_capture(db, record)
            return event_queries.add_event(db, event) if event else None

        self.queue.post(job)

    def note(self, event: EventRecord) -> None:
        """Keep an event: one that may be dropped where too much waits for room on the disk."""
        self.queue.post(lambda db: event_queries.add_event(db, event), droppable=True)

    async def wait_for_backlog(self) -> None:
        """Wait while the disk is far behind: it slows down those who cause many events."""
        if self.queue.behind:
            with contextlib.suppress(*DISK_ERRORS):  # of no matter here
                await self.queue.flush()

    async def succeed(self, record: CaptureRecord, staged: str) -> CaptureRecord:
        """Keep a capture's files for good; return the record as it is kept.

        `staged` is the first one's name. Their `path`s are set here; `store_s` and `total_s` grow
        by what it takes.

        Raises:
            StorageFull, StorageUnavailable: it cannot be kept. No part of it is; see `unkept`.
        """
        started = time.monotonic()
        places: list[str] = []
        kept, total_bytes = record, 0

        def job(db: sqlite3.Connection) -> EventRecord:
            nonlocal kept, total_bytes
            for number in range(len(record.files)):
                places.append(self.store.keep(record, number, staged))
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
            total_bytes = rows.total_bytes(db)
            return event

        self.protected.acknowledge(record.capture_id)
        try:
            await self.queue.write(job)
        except DISK_ERRORS as error:
            await self.unkept.add(record, staged, places)
            if is_full(error):
                raise storage_full(record.camera, "it does not fit any more") from error
            _log.error("picture not kept", capture=record.capture_id, error=str(error))
            raise unavailable(error) from error
        self.space.add(record.camera, kept.size_bytes, total_bytes)
        self.protected.acknowledge(kept.capture_id)
        return kept

    def end(self, record: CaptureRecord) -> "asyncio.Future[None]":
        """Keep that a capture has FAILED or was CANCELLED, unless it has ended before.

        The future is done once that is kept, or will be when there is room again. It never fails.
        """
        self.protected.acknowledge(record.capture_id)
        if record.failure is not None and record.failure.reason == StorageUnavailable.reason:
            self.disk.doubt()
        return self.queue.post(lambda db: end_if_running(db, record))

    def withdraw(
        self, capture_id: str, rejected: EventRecord | None = None
    ) -> "asyncio.Future[None]":
        """Forget a capture that its camera has refused; keep the event of that, if there is one.

        The future is as that of `end`.
        """

        def job(db: sqlite3.Connection) -> EventRecord | None:
            rows.delete_capture(db, capture_id)
            return event_queries.add_event(db, rejected) if rejected else None

        return self.queue.post(job)
