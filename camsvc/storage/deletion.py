"""Captures deleted, with their pictures, in the order that leaves no row without its picture."""

import asyncio
import sqlite3

import structlog

from camsvc.model.errors import StorageFull
from camsvc.model.records import CaptureRecord
from camsvc.storage import queries as rows
from camsvc.storage.files import FileStore
from camsvc.storage.write_queue import DISK_ERRORS, WriteQueue, is_full

_log = structlog.get_logger()


class Deletion:
    """Deletes captures. What was begun is done, also when whoever asked for it has left."""

    def __init__(self, store: FileStore, outbox: WriteQueue) -> None:
        self._store = store
        self._queue = outbox
        self._tasks: set[asyncio.Task[None]] = set()

    async def remove(self, records: list[CaptureRecord]) -> None:
        """Delete captures: rows first, and that their files have to go; then the files.

        Raises:
            StorageFull: there was no room to note it; the pictures are gone all the same.
        """
        if not records:
            return
        task = asyncio.create_task(self._remove(records), name="remove")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        await asyncio.shield(task)

    async def close(self) -> None:
        """Let what was begun end."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _remove(self, records: list[CaptureRecord]) -> None:
        paths = [file.path for record in records for file in record.files]

        def job(db: sqlite3.Connection) -> tuple[None, None]:
            for record in records:
                rows.delete_capture(db, record.capture_id)
            rows.schedule_deletion(db, paths)
            return None, None

        try:
            await self._queue.pay()  # a row that goes must not be added later
            await self._queue.write(job)
        except DISK_ERRORS as error:
            if not is_full(error):
                raise
            # Nothing can be written, not even that something goes. The files make room for that;
            # should the end come now, the next start finds their rows and puts them right.
            await asyncio.to_thread(self._unlink, paths)
            try:
                await self._queue.write(job)
            except DISK_ERRORS as again:
                if not is_full(again):
                    raise
                self._queue.owe(job)
                raise StorageFull(
                    "no room to note that something was deleted: its picture is gone, and its "
                    "record goes when there is room on the service's disk"
                ) from again
        await asyncio.to_thread(self._unlink, paths)

        def forget(db: sqlite3.Connection) -> tuple[None, None]:
            rows.clear_deletions(db, paths)
            return None, None

        self._queue.post(forget)

    def _unlink(self, paths: list[str]) -> None:
        for path in paths:
            self._store.delete(path)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("captures not deleted", error=str(error))
