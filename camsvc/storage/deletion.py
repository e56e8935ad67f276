"""Captures deleted with their pictures, in the order that leaves no row without its picture."""

import asyncio
import collections
import sqlite3
from functools import partial

import structlog

from camsvc.model.errors import StorageFull, StorageUnavailable
from camsvc.model.records import CaptureRecord
from camsvc.storage import queries as rows
from camsvc.storage.disk_errors import DISK_ERRORS, is_full, unavailable
from camsvc.storage.files import FileStore
from camsvc.storage.write_queue import WriteQueue

_log = structlog.get_logger()


class Deletion:
    """Deletes captures. What was begun is ended, also when its caller has left."""

    def __init__(self, store: FileStore, queue: WriteQueue) -> None:
        self._store = store
        self._queue = queue
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way: collections.Counter[str] = collections.Counter()
        self._waiting: set[str] = set()
        """Captures whose files are gone, and whose rows go when there is room to note it."""

    def is_under_way(self, capture_id: str) -> bool:
        """Whether a capture is being deleted: no client should be given it any more."""
        return self._under_way[capture_id] > 0 or capture_id in self._waiting

    async def delete(self, records: list[CaptureRecord]) -> None:
        """Delete captures: rows first, and that their files are to go; then the files.

        Raises:
            StorageFull: there was no room to note it; the pictures are gone all the same.
            StorageUnavailable: it cannot be noted now; nothing is gone.
        """
        if not records:
            return
        ids = [record.capture_id for record in records]
        self._under_way.update(ids)
        task = asyncio.create_task(self._delete_in_order(records), name="delete captures")
        self._tasks.add(task)
        task.add_done_callback(partial(self._on_end, ids))
        await asyncio.shield(task)

    async def close(self) -> None:
        """Let what was begun end."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _delete_in_order(self, records: list[CaptureRecord]) -> None:
        if not self._queue.pending:
            self._waiting.clear()
        paths = [file.path for record in records for file in record.files]

        def delete_rows(db: sqlite3.Connection) -> None:
            for record in records:
                rows.delete_capture(db, record.capture_id)
            rows.schedule_deletion(db, paths)

        try:
            await self._queue.write(delete_rows)
        except DISK_ERRORS as error:
            if not is_full(error):
                raise unavailable(error) from error
            # Nothing can be written, not even that something goes. The files make room for that;
            # should the end come now, the next start finds their rows and reconciles them.
            await asyncio.to_thread(self._unlink, paths)
            try:
                await self._queue.write(delete_rows)
            except DISK_ERRORS as again:
                if not is_full(again):
                    raise unavailable(again) from again
                self._waiting |= {record.capture_id for record in records}
                self._queue.post(delete_rows)
                raise StorageFull(
                    "no room to note that something was deleted: its picture is gone, and its "
                    "record goes when there is room on the service's disk"
                ) from again
        await asyncio.to_thread(self._unlink, paths)
        self._queue.post(lambda db: rows.clear_deletions(db, paths))

    def _unlink(self, paths: list[str]) -> None:
        for path in paths:
            self._store.delete(path)

    def _on_end(self, ids: list[str], task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._under_way.subtract(ids)
        self._under_way += collections.Counter()  # which drops those that are not any more
        error = None if task.cancelled() else task.exception()
        if isinstance(error, StorageFull | StorageUnavailable | OSError | sqlite3.Error):
            _log.warning("captures not deleted", error=str(error))
        elif error is not None:
            _log.error("captures not deleted", exc_info=error)
