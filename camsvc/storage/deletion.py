"""Captures deleted with their pictures, in the order that leaves no row without its picture."""

import asyncio
import collections
import sqlite3
from functools import partial

import structlog

from camsvc.model.errors import CameraBusy, StorageFull
from camsvc.model.records import CaptureRecord, CaptureState
from camsvc.model.retry_hint import RUNNING_CAPTURE_S
from camsvc.storage import queries as rows
from camsvc.storage.connections import DISK_ERRORS, is_full
from camsvc.storage.database import Database
from camsvc.storage.files import FileStore
from camsvc.storage.protected import Protected
from camsvc.storage.write_queue import WriteQueue

_log = structlog.get_logger()


class Deletion:
    """Deletes captures. What was begun is ended, also when its caller has left."""

    def __init__(
        self, store: FileStore, database: Database, queue: WriteQueue, protected: Protected
    ) -> None:
        self._store = store
        self._database = database
        self._queue = queue
        self._protected = protected
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way: collections.Counter[str] = collections.Counter()
        self._waiting: set[str] = set()
        """Captures whose files are gone, and whose rows go when there is room to note it."""

    def is_under_way(self, capture_id: str) -> bool:
        """Whether a capture is being deleted: no client should be given it any more."""
        return self._under_way[capture_id] > 0 or capture_id in self._waiting

    async def delete(self, record: CaptureRecord) -> None:
        """Delete a capture with its picture; its events stay.

        Raises:
            CameraBusy: it is RUNNING.
            StorageFull: as `_delete` does.
        """
        if record.state is CaptureState.RUNNING:
            raise CameraBusy(
                f"capture {record.capture_id!r} is RUNNING and can be deleted when it has ended",
                retry_after_s=RUNNING_CAPTURE_S,
                metadata={"camera": record.camera, "capture_id": record.capture_id},
            )
        await self._delete([record])

    async def prune(
        self,
        *,
        before_time_ns: int | None,
        excess_bytes: int,
        without_label: tuple[str, str] | None,
        limit: int,
    ) -> int:
        """Delete up to `limit` of the oldest captures; return how many. See `Archive.prune`."""
        if self._protected.everything:
            return 0
        oldest = await self._database.read(
            lambda db: rows.oldest(
                db,
                before_time_ns=before_time_ns,
                without_label=without_label,
                without=self._protected.ids(),
                limit=limit,
            )
        )
        # One may have been acknowledged again, or opened, since.
        protected = set(self._protected.ids())
        oldest = [record for record in oldest if record.capture_id not in protected]
        if before_time_ns is None:
            oldest = _take_bytes(oldest, excess_bytes)
        await self._delete(oldest)
        return len(oldest)

    async def close(self) -> None:
        """Let what was begun end."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _delete(self, records: list[CaptureRecord]) -> None:
        """Delete captures: rows first, and that their files are to go; then the files.

        Raises:
            StorageFull: there was no room to note it; the pictures are gone all the same.
        """
        if not records:
            return
        ids = [record.capture_id for record in records]
        self._under_way.update(ids)
        task = asyncio.create_task(self._delete_in_order(records), name="delete captures")
        self._tasks.add(task)
        task.add_done_callback(partial(self._on_end, ids))
        await asyncio.shield(task)

    async def _delete_in_order(self, records: list[CaptureRecord]) -> None:
        if not self._queue.pending:
            self._waiting.clear()
        paths = [file.path for record in records for file in record.files]

        def delete_rows(db: sqlite3.Connection) -> tuple[None, None]:
            for record in records:
                rows.delete_capture(db, record.capture_id)
            rows.schedule_deletion(db, paths)
            return None, None

        try:
            await self._queue.write(delete_rows)
        except DISK_ERRORS as error:
            if not is_full(error):
                raise
            # Nothing can be written, not even that something goes. The files make room for that;
            # should the end come now, the next start finds their rows and reconciles them.
            await asyncio.to_thread(self._unlink, paths)
            try:
                await self._queue.write(delete_rows)
            except DISK_ERRORS as again:
                if not is_full(again):
                    raise
                self._waiting |= {record.capture_id for record in records}
                self._queue.post(delete_rows)
                raise StorageFull(
                    "no room to note that something was deleted: its picture is gone, and its "
                    "record goes when there is room on the service's disk"
                ) from again
        await asyncio.to_thread(self._unlink, paths)

        def clear(db: sqlite3.Connection) -> tuple[None, None]:
            rows.clear_deletions(db, paths)
            return None, None

        self._queue.post(clear)

    def _unlink(self, paths: list[str]) -> None:
        for path in paths:
            self._store.delete(path)

    def _on_end(self, ids: list[str], task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._under_way.subtract(ids)
        self._under_way += collections.Counter()  # which drops those that are not any more
        error = None if task.cancelled() else task.exception()
        if isinstance(error, StorageFull | OSError | sqlite3.Error):
            _log.warning("captures not deleted", error=str(error))
        elif error is not None:
            _log.error("captures not deleted", exc_info=error)


def _take_bytes(records: list[CaptureRecord], size_bytes: int) -> list[CaptureRecord]:
    """Return the first records, as many as take `size_bytes` together."""
    taken: list[CaptureRecord] = []
    for record in records:
        if size_bytes <= 0:
            break
        taken.append(record)
        size_bytes -= record.size_bytes
    return taken
