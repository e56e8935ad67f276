"""What a sudden end has left is put right at the next start, and a folder has one service."""

import asyncio
import contextlib
import errno
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from camsvc.model.errors import CaptureNotFound
from camsvc.model.records import CaptureState, EventRecord, EventType, Filter
from camsvc.storage.archive import Archive, ArchiveError
from camsvc.storage.files import FileStore
from tests.support.keeping import (
    BOUND_S,
    CREATED_NS,
    DATED,
    DAY_NS,
    Disk,
    Folder,
    capture,
    keep,
    note,
    published,
    staged,
    written,
)


@asynccontextmanager
async def opened(folder: Folder) -> AsyncIterator[Archive]:
    archive = await Archive.open(folder.path)
    try:
        yield archive
    finally:
        await archive.close()


async def test_opened_again_it_has_everything(folder: Folder) -> None:
    async with opened(folder) as archive:
        first = await keep(archive, capture("a", request_id="one", point="1"), b"12345")
        archive.captures.note(note())
    with capture_logs() as logs:
        async with opened(folder) as archive:
            assert (
                await archive.capture("a")
                == await archive.captures.find_by_request_id("cam", "one")
                == first
            )
            assert await archive.read("a") == b"12345"
            assert (archive.events.last_sequence, archive.space.total_bytes) == (2, 5)
            archive.captures.note(note())
            await written(archive)
            assert archive.events.last_sequence == 3, "the events' numbers go on"
    assert not logs, "nothing was to be put right"


async def test_a_capture_that_was_under_way_is_cancelled_with_an_event(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(folder) as archive:
        archive.captures.begin(capture("a", request_id="one"), note(1, capture_id="a"))
        archive.captures.begin(capture("b", created_ns=CREATED_NS + 1), None)
    with published(monkeypatch) as told, capture_logs() as logs:
        async with opened(folder) as archive:
            record = await archive.capture("a")
            assert record.state is CaptureState.CANCELLED
            assert record.failure is not None
            assert record.failure.reason == "CAMERA_UNAVAILABLE"
            assert record.failure.metadata == {"camera": "cam", "capture_id": "a"}
            assert folder.events() == ["PROGRESS a", "CANCELLED a", "CANCELLED b"]
            assert archive.events.last_sequence == 3
            again = await keep(archive, capture("c", request_id="one"))
            assert await archive.captures.find_by_request_id("cam", "one") == again
    assert [event.capture_id for event in told] == ["c"], "nobody was there to be told"
    assert [log["unfinished"] for log in logs] == [2]


async def test_whoever_asks_from_there_is_told_of_the_cancelled_captures(folder: Folder) -> None:
    async with opened(folder) as archive:
        archive.captures.begin(capture("a"), note(1, capture_id="a"))
    async with opened(folder) as archive:
        event = await anext(archive.events.follow("cam", 1))
        assert isinstance(event, EventRecord)
        assert (event.type, event.sequence) == (EventType.CANCELLED, 2)
        assert event.capture == await archive.capture("a")


async def test_staged_files_are_swept(folder: Folder) -> None:
    async with opened(folder) as archive:
        await keep(archive, capture("a"))
        staged(archive, capture("b"), b"half of it")
    assert folder.files() == [f"{DATED}/a.jpg"], "at a clean end, too"
    folder.put("staging/b.1", b"half of it")
    with capture_logs() as logs:
        async with opened(folder):
            assert folder.files() == [f"{DATED}/a.jpg"]
    assert [log["swept"] for log in logs] == [1]


async def test_a_picture_that_was_renamed_and_never_acknowledged_is_deleted(
    folder: Folder,
) -> None:
    """The service was killed between the file's renaming and the row's commit."""
    async with opened(folder) as archive:
        archive.captures.begin(capture("a"), None)
    folder.put(f"{DATED}/a.jpg")
    async with opened(folder):
        assert folder.states() == {"a": "CANCELLED"}
        assert folder.files() == []


async def test_a_picture_without_a_row_is_set_aside_and_not_deleted(folder: Folder) -> None:
    async with opened(folder) as archive:
        await keep(archive, capture("a"))
    folder.put(f"{DATED}/stray.jpg", b"somebody's")
    with capture_logs() as logs:
        async with opened(folder):
            assert folder.files() == [f"{DATED}/a.jpg", "orphans/stray.jpg"]
    assert (folder.path / "orphans/stray.jpg").read_bytes() == b"somebody's"
    assert [log["event"] for log in logs] == ["picture without a capture set aside"]


async def test_a_capture_that_has_lost_its_picture_says_so(folder: Folder) -> None:
    async with opened(folder) as archive:
        await keep(archive, capture("a", request_id="one", point="1"), b"12345")
        await keep(archive, capture("b"), b"123")
    (folder.path / DATED / "a.jpg").unlink()
    with capture_logs() as logs:
        async with opened(folder) as archive:
            record = await archive.capture("a")
            assert (record.state, record.image) == (CaptureState.FAILED, None)
            assert record.labels == {"point": "1"}
            assert record.failure is not None
            assert record.failure.reason == "CAPTURE_NOT_FOUND"
            assert archive.space.total_bytes == 3
            with pytest.raises(CaptureNotFound):
                await archive.read("a")
            assert await archive.captures.find_by_request_id("cam", "one") is None, (
                "its id takes a new one"
            )
            assert await archive.read("b") == b"123"
    assert [(log["log_level"], log["capture"]) for log in logs] == [("error", "a")]


async def test_a_picture_that_was_moved_to_another_date_is_lost_and_set_aside(
    folder: Folder,
) -> None:
    async with opened(folder) as archive:
        await keep(archive, capture("a"))
    other = folder.put("captures/2026-02-02/a.jpg")
    (folder.path / DATED / "a.jpg").replace(other)
    async with opened(folder):
        assert folder.states() == {"a": "FAILED"}
        assert folder.files() == ["orphans/a.jpg"]


@pytest.mark.parametrize("name", ["a.xmp", "a.jpg.xmp", "a.png", ".a.jpg.swp"])
async def test_what_a_program_has_put_beside_a_picture_does_not_cost_the_picture(
    folder: Folder, name: str
) -> None:
    async with opened(folder) as archive:
        await keep(archive, capture("a"))
    folder.put(f"{DATED}/{name}")
    for _ in range(2):
        async with opened(folder) as archive:
            assert folder.states() == {"a": "SUCCEEDED"}
            assert await archive.read("a") == b"picture"
    assert folder.files() == [f"{DATED}/a.jpg", f"orphans/{name}"]


async def test_a_deletion_that_was_begun_is_ended(folder: Folder) -> None:
    """The service was killed between the row's going and the file's."""
    async with opened(folder) as archive:
        await keep(archive, capture("a"))
        await keep(archive, capture("b", created_ns=CREATED_NS + DAY_NS))
    folder.rows("DELETE FROM captures WHERE capture_id = 'a'")
    folder.rows("INSERT INTO doomed VALUES (?), (?)", f"{DATED}/a.jpg", f"{DATED}/gone.jpg")
    with capture_logs() as logs:
        async with opened(folder):
            assert folder.files() == ["captures/2026-01-02/b.jpg"]
            assert folder.rows("SELECT path FROM doomed") == []
            assert not (folder.path / DATED).exists()
    assert not logs, "that is no trouble"


async def test_when_the_repair_is_interrupted_the_next_start_does_it(
    folder: Folder, disk: Disk
) -> None:
    async with opened(folder) as archive:
        archive.captures.begin(capture("a"), None)
        archive.captures.begin(replace(capture("b"), request_id="one"), None)
        await keep(archive, capture("c"))
        staged(archive, capture("d"))
    folder.put(f"{DATED}/a.jpg")
    folder.put(f"{DATED}/stray.jpg")
    (folder.path / DATED / "c.jpg").unlink()
    disk.full = True
    with pytest.raises(ArchiveError, match="No space left"):
        await Archive.open(folder.path)
    disk.full = False
    async with opened(folder) as archive:
        assert folder.states() == {"a": "CANCELLED", "b": "CANCELLED", "c": "FAILED"}
        assert folder.files() == ["orphans/stray.jpg"]
        assert folder.events() == ["SUCCEEDED c", "CANCELLED a", "CANCELLED b"]
        assert len((await archive.page(Filter(), before=None, limit=10))[0]) == 3


@pytest.mark.parametrize("size_bytes", [0, 100, 5000])
async def test_a_disk_without_room_for_the_journal_is_refused(
    folder: Folder, size_bytes: int
) -> None:
    async with opened(folder) as archive:
        await keep(archive, capture("a"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, limits[1]))
    try:
        with pytest.raises(ArchiveError, match="cannot be used"):
            await Archive.open(folder.path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    async with opened(folder) as archive:
        assert await archive.read("a") == b"picture"


# One service for a folder.

OPENS = """
import asyncio, sys
from pathlib import Path
from camsvc.storage.archive import Archive, ArchiveError

async def main():
    try:
        archive = await Archive.open(Path(sys.argv[1]))
    except ArchiveError as error:
        print("refused:", error)
    else:
        print("opened")
        await archive.close()

asyncio.run(main())
"""


async def opens_elsewhere(folder: Folder) -> str:
    """Open the folder in another process; return what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OPENS, str(folder.path), stdout=subprocess.PIPE
    )
    async with asyncio.timeout(BOUND_S):
        out, _ = await process.communicate()
    return out.decode()


async def test_a_folder_in_use_is_refused_to_another_service(
    folder: Folder, archive: Archive
) -> None:
    record = capture("a")
    archive.captures.begin(record, None)
    staged(archive, record)
    await written(archive)
    assert "is in use by another camsvc; stop that, or choose another" in await opens_elsewhere(
        folder
    )
    with pytest.raises(ArchiveError, match="is in use by another camsvc"):
        await Archive.open(folder.path)
    assert folder.files() == ["staging/a.1"], "nothing was put right that is not wrong"
    assert folder.states() == {"a": "RUNNING"}


async def test_a_folder_that_was_closed_can_be_opened_by_another_service(folder: Folder) -> None:
    async with opened(folder):
        pass
    assert await opens_elsewhere(folder) == "opened\n"
    async with opened(folder):
        pass


async def test_a_folder_that_cannot_be_opened_is_not_held(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(store: FileStore) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "sweep", fail)
        with pytest.raises(ArchiveError, match=r"data cannot be used: .*Permission denied"):
            await Archive.open(folder.path)
    async with opened(folder):
        pass


async def test_a_file_in_the_place_of_the_folder_is_refused(folder: Folder) -> None:
    folder.path.write_text("")
    with pytest.raises(ArchiveError, match=r"cannot be used: .*--data-dir DIR"):
        await Archive.open(folder.path)


async def test_a_database_of_a_newer_version_is_refused_and_the_folder_left_as_it_is(
    folder: Folder,
) -> None:
    async with opened(folder) as archive:
        await keep(archive, capture("a"))
    folder.put("staging/b.1")
    folder.rows("PRAGMA user_version = 99")
    with pytest.raises(ArchiveError, match="version 99"):
        await Archive.open(folder.path)
    assert folder.files() == [f"{DATED}/a.jpg", "staging/b.1"]
    with contextlib.closing(sqlite3.connect(folder.path / "journal.sqlite3")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (99,)
