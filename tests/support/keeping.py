"""An archive in a folder of the test's, on a disk that can be full."""

import errno
import hashlib
import os
import resource
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from camsvc.model.records import CaptureRecord, EventRecord, EventType, StoredImage
from camsvc.storage.archive import Archive
from camsvc.storage.event_feed import EventFeed
from camsvc.storage.files import FileStore, staged_name
from tests.support.stills import memory
from tests.support.waiting import until

BOUND_S = 20.0
DAY_NS = 86_400 * 10**9
CREATED_NS = 1_767_225_600 * 10**9
"""2026-01-01 in UTC."""
DATED = "captures/2026-01-01"
RETRY_S = 0.02
"""How often what found the disk full is tried again."""


class Disk:
    """What the archive writes to. While `full`, nothing is committed, but what is there stays.

    So it is while it is `ill`: that is the number of its error.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.ill = 0
        sync = FileStore.sync

        def sync_or_fail(store: FileStore) -> None:
            if number := errno.ENOSPC if self.full else self.ill:
                raise OSError(number, os.strerror(number))
            sync(store)

        monkeypatch.setattr(FileStore, "sync", sync_or_fail)


class Folder:
    """A data folder, and what it holds when seen from outside."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path / "journal.sqlite3", isolation_level=None)

    def journal_bytes(self) -> int:
        """Return what the journal takes, with its log."""
        return sum(path.stat().st_size for path in self.path.glob("journal.sqlite3*"))

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return what has been committed, or change it."""
        with closing(self.database()) as db:
            return db.execute(sql, values).fetchall()

    def states(self) -> dict[str, str]:
        """Return the state of every capture, by id."""
        return dict(self.rows("SELECT capture_id, state FROM captures"))

    def events(self) -> list[str]:
        """Return every event as its type and capture."""
        found = self.rows("SELECT camera, sequence, event FROM events ORDER BY sequence")
        events = [EventRecord.from_json(sequence, camera, text) for camera, sequence, text in found]
        return [f"{event.type.value} {event.capture_id}".rstrip() for event in events]

    def files(self) -> list[str]:
        """Return the path of every picture, and of what may become or has been one."""
        places = [self.path / name for name in ("captures", "staging", "orphans")]
        found = [file for place in places for file in place.rglob("*") if file.is_file()]
        return sorted(str(file.relative_to(self.path)) for file in found)

    def put(self, relative: str, data: bytes = b"picture") -> Path:
        """Write a file that no archive knows of."""
        file = self.path / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file


def capture(
    capture_id: str,
    *,
    camera: str = "cam",
    created_ns: int = CREATED_NS,
    request_id: str = "",
    **labels: str,
) -> CaptureRecord:
    """Return a capture that is under way."""
    return CaptureRecord(capture_id, camera, created_ns, request_id, labels=labels)


def note(number: int = 0, camera: str = "cam", capture_id: str = "") -> EventRecord:
    """Return an event that can be told from others by its time."""
    return EventRecord(EventType.PROGRESS, number, camera, capture_id)


def taken(record: CaptureRecord, data: bytes, mime_type: str = "image/jpeg") -> CaptureRecord:
    """Return a capture whose picture waits in staging."""
    image = StoredImage("", mime_type, 4, 3, len(data), hashlib.sha256(data).hexdigest())
    return replace(record, image=image)


def staged(archive: Archive, record: CaptureRecord, data: bytes = b"picture") -> str:
    """Write a picture as a shot that is taken has it; return its name."""
    name = staged_name(record.capture_id, 1)
    put_staged(archive, name, data)
    return name


def put_staged(archive: Archive, name: str, data: bytes) -> None:
    """Write a file in staging."""
    with archive.captures.store.staging.create(name) as file:
        file.write(data)


async def stage_another(archive: Archive) -> None:
    """Make a place for a shot that comes to nothing. Raises: as `CaptureStore.stage`."""
    with memory() as block:
        (await archive.captures.stage(str(uuid.uuid4()), 1, block)).discard()


async def keep(
    archive: Archive,
    record: CaptureRecord,
    data: bytes = b"picture",
    mime_type: str = "image/jpeg",
) -> CaptureRecord:
    """Have an archive keep a capture with its picture."""
    archive.captures.begin(record, None)
    path = staged(archive, record, data)
    return await archive.captures.succeed(taken(record, data, mime_type), path)


async def written(archive: Archive) -> None:
    """Wait until everything posted so far has been written, or could not be."""
    await archive.queue.flush()


async def nothing_pending(archive: Archive) -> None:
    """Wait until what found the disk full has been written."""

    async def flushed() -> bool:
        return not archive.queue.pending

    await until(flushed, "all that waited is written", within_s=BOUND_S)


@contextmanager
def published(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EventRecord]]:
    """Collect the events that readers are given, in the order in which they are."""
    events: list[EventRecord] = []
    publish = EventFeed.publish

    def collect(feed: EventFeed, event: EventRecord) -> None:
        events.append(event)
        publish(feed, event)

    with monkeypatch.context() as patch:
        patch.setattr(EventFeed, "publish", collect)
        yield events


@contextmanager
def log_cannot_grow(folder: Folder) -> Iterator[None]:
    """Have the system refuse to let the journal's log grow, as it does on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size_bytes = (folder.path / "journal.sqlite3-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
