"""A full disk costs the picture that found it full, and nothing that was acknowledged or told."""

import asyncio
import errno
import os
import random
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from camsvc.model.errors import CameraServiceError, StorageFull, StorageUnavailable
from camsvc.model.records import CaptureRecord, CaptureState, EventRecord, EventType, Failure
from camsvc.storage import schema
from camsvc.storage.archive import Archive
from camsvc.storage.event_feed import Gap
from camsvc.storage.files import FileStore
from tests.support.keeping import (
    BOUND_S,
    DATED,
    RETRY_S,
    Disk,
    Folder,
    capture,
    keep,
    log_cannot_grow,
    note,
    nothing_pending,
    published,
    staged,
    taken,
    written,
)
from tests.support.stills import memory
from tests.support.waiting import until


def failed(record: CaptureRecord) -> CaptureRecord:
    failure = Failure("STORAGE_FULL", "no room")
    return replace(record, state=CaptureState.FAILED, failure=failure)


async def refused(archive: Archive, record: CaptureRecord) -> CameraServiceError:
    """Have a picture kept that cannot be; return the error."""
    path = staged(archive, record)
    with pytest.raises(CameraServiceError) as refusal:
        await archive.captures.succeed(taken(record, b"picture"), path)
    return refusal.value


@contextmanager
def full_folder(disk: Disk) -> Iterator[None]:
    disk.full = True
    yield
    disk.full = False


# A picture that cannot be kept.


@pytest.mark.parametrize("why", ["folder", "log"])
async def test_of_a_picture_that_finds_the_disk_full_nothing_is_left(
    archive: Archive, disk: Disk, folder: Folder, why: str
) -> None:
    """Its row cannot be committed: it was renamed already."""
    await keep(archive, capture("a"))
    record = capture("b", request_id="one")
    archive.captures.begin(record, None)
    await written(archive)
    with full_folder(disk) if why == "folder" else log_cannot_grow(folder):
        error = await refused(archive, record)
    assert isinstance(error, StorageFull)
    assert error.metadata == {"camera": "cam"}
    assert folder.files() == [f"{DATED}/a.jpg"]
    assert folder.states() == {"a": "SUCCEEDED", "b": "RUNNING"}
    assert folder.events() == ["SUCCEEDED a"]
    assert archive.space.total_bytes == len(b"picture")
    await archive.captures.end(failed(record))
    again = await keep(archive, capture("c", request_id="one"))
    assert await archive.captures.find_by_request_id("cam", "one") == again, (
        "the id takes a new one"
    )


async def test_a_database_without_a_page_left_keeps_no_part_of_a_picture(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await Archive.open(folder.path)).close()
    ((pages,),) = folder.rows("PRAGMA page_count")
    writers: list[sqlite3.Connection] = []
    prepare = schema.prepare

    def prepare_limited(db: sqlite3.Connection) -> None:
        prepare(db)
        db.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall()
        writers.append(db)

    monkeypatch.setattr(schema, "prepare", prepare_limited)
    archive = await Archive.open(folder.path, retry_s=RETRY_S)
    count = 0
    for count in range(1000):
        record = capture(str(count), point="x" * 500)
        try:
            await keep(archive, record)
        except StorageFull:
            break
    assert 0 < count < 100
    assert len(folder.files()) == count
    assert list(folder.states().values()).count("SUCCEEDED") == count
    writers[0].execute("PRAGMA max_page_count = 9999").fetchall()
    await nothing_pending(archive)
    await keep(archive, capture("more"))
    await archive.close()


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, StorageUnavailable)],
)
async def test_of_a_picture_that_cannot_be_renamed_nothing_is_left(
    archive: Archive,
    folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[CameraServiceError],
) -> None:
    def fail(*_: object) -> str:
        raise OSError(number, os.strerror(number))

    record = capture("a")
    archive.captures.begin(record, None)
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(FileStore, "keep", fail)
        error = await refused(archive, record)
    assert type(error) is kind
    assert error.retry_after_s is None
    assert str(folder.path) not in str(error)
    assert ("picture not kept" in [log["event"] for log in logs]) == (kind is StorageUnavailable)
    assert folder.files() == []
    await nothing_pending(archive)
    assert folder.states() == {"a": "RUNNING"}
    await keep(archive, capture("b"))


async def test_those_that_are_committed_together_fail_together_and_each_is_taken_back(
    archive: Archive, disk: Disk, folder: Folder
) -> None:
    with full_folder(disk):
        errors = await asyncio.gather(*(refused(archive, capture(name)) for name in "abc"))
    assert {type(error) for error in errors} == {StorageFull}
    assert folder.files() == []


# What nobody waits for waits for room.


async def test_what_finds_the_disk_full_is_written_when_there_is_room_in_its_order(
    archive: Archive, disk: Disk, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with published(monkeypatch) as told:
        with full_folder(disk):
            archive.captures.begin(capture("a"), note(1, capture_id="a"))
            archive.captures.note(note(2, capture_id="a"))
            await archive.captures.end(failed(capture("a")))
            archive.captures.begin(capture("b"), note(3, capture_id="b"))
            await written_or_waiting(archive)
            archive.captures.note(note(4, capture_id="b"))
            assert folder.events() == []
            assert archive.events.last_sequence == 0
        await nothing_pending(archive)
    assert folder.events() == ["PROGRESS a", "PROGRESS a", "FAILED a", "PROGRESS b", "PROGRESS b"]
    assert [event.sequence for event in told] == [1, 2, 3, 4, 5]
    assert [event.time_ns for event in told if event.type is EventType.PROGRESS] == [1, 2, 3, 4]
    assert folder.states() == {"a": "FAILED", "b": "RUNNING"}


async def written_or_waiting(archive: Archive) -> None:
    with pytest.raises((OSError, sqlite3.Error)):
        await written(archive)


async def test_readers_of_events_see_no_gap_and_no_repeat_around_a_full_disk(
    archive: Archive, disk: Disk
) -> None:
    rng = random.Random(4)
    read: list[EventRecord] = []

    async def follow() -> None:
        async for item in archive.events.follow("", 0):
            assert isinstance(item, EventRecord)
            read.append(item)
            if len(read) == 300:
                break

    reading = asyncio.create_task(follow())
    for number in range(300):
        disk.full = rng.random() < 0.5
        archive.captures.note(note(number))
        if rng.random() < 0.3:
            await asyncio.sleep(0.001)
    disk.full = False
    async with asyncio.timeout(BOUND_S):
        await reading
    assert [event.time_ns for event in read] == list(range(300))
    assert [event.sequence for event in read] == list(range(1, 301))


async def test_a_picture_is_kept_after_the_waiting_beginning_of_its_capture(
    archive: Archive, disk: Disk, folder: Folder
) -> None:
    """Room was made between the shutter and the picture's end."""
    with full_folder(disk):
        archive.captures.begin(capture("a"), note(1, capture_id="a"))
        archive.captures.note(note(2, capture_id="a"))
        await written_or_waiting(archive)
    with capture_logs() as logs:
        kept = await archive.captures.succeed(
            taken(capture("a"), b"picture"), staged(archive, capture("a"))
        )
        await nothing_pending(archive)
    assert await archive.capture("a") == kept
    assert folder.events() == ["PROGRESS a", "PROGRESS a", "SUCCEEDED a"]
    assert [log["event"] for log in logs] == ["journal written again"]


async def test_the_end_of_a_capture_is_kept_though_its_beginning_is_not(
    archive: Archive, disk: Disk, folder: Folder
) -> None:
    with full_folder(disk):
        archive.captures.begin(capture("a"), None)
        await written_or_waiting(archive)
        assert isinstance(await refused(archive, capture("a")), StorageFull)
        await archive.captures.end(failed(capture("a")))
    await nothing_pending(archive)
    assert (await archive.capture("a")).state is CaptureState.FAILED
    assert folder.events() == ["FAILED a"]


async def test_who_waits_for_the_end_of_a_failed_capture_does_not_wait_for_room(
    archive: Archive, disk: Disk
) -> None:
    archive.captures.begin(capture("a"), None)
    with full_folder(disk):
        async with asyncio.timeout(BOUND_S):
            await archive.captures.end(failed(capture("a")))
            await archive.captures.end(failed(capture("b")))


async def test_what_was_staged_is_discarded_also_while_the_disk_is_full(
    archive: Archive, disk: Disk, folder: Folder
) -> None:
    """It is what fills the disk."""
    with full_folder(disk):
        with memory() as block:
            shot = await archive.captures.stage("a", 1, block)
        assert folder.files() == ["staging/a.1"]
        shot.discard()

        async def gone() -> bool:
            return folder.files() == []

        await until(gone, "it is deleted", within_s=BOUND_S)


async def test_a_disk_that_is_far_behind_and_full_does_not_fail_those_who_wait_for_it(
    archive: Archive, disk: Disk
) -> None:
    with full_folder(disk):
        for number in range(1500):
            archive.captures.note(note(number))
        await archive.captures.wait_for_backlog()
    await nothing_pending(archive)
    assert archive.events.last_sequence == 1500


async def test_a_service_that_ends_on_a_full_disk_says_what_is_lost(
    disk: Disk, folder: Folder
) -> None:
    archive = await Archive.open(folder.path)
    archive.captures.begin(capture("a"), None)
    await written(archive)
    disk.full = True
    archive.captures.note(note(1, capture_id="a"))
    await archive.captures.end(failed(capture("a")))
    with capture_logs() as logs:
        async with asyncio.timeout(BOUND_S):
            await archive.close()
        await asyncio.sleep(0)
    assert [log["lost_writes"] for log in logs if "lost_writes" in log] == [2]
    disk.full = False
    archive = await Archive.open(folder.path)
    assert folder.events() == ["CANCELLED a"], "the next start ends it"
    await archive.close()


# Deleting makes room.


async def test_when_not_even_a_deletion_can_be_noted_the_files_make_room_for_it(
    archive: Archive, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(archive, capture("a"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    delete = FileStore.delete

    def makes_room(store: FileStore, relative: str) -> None:
        delete(store, relative)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(FileStore, "delete", makes_room)
    with log_cannot_grow(folder):
        await archive.delete("a")
    assert folder.states() == {}
    assert folder.files() == []
    await archive.space.refresh()
    assert archive.space.total_bytes == 0


@pytest.mark.parametrize("why", ["folder", "log"])
async def test_a_deletion_that_still_finds_no_room_says_so_and_is_done_when_there_is(
    archive: Archive, disk: Disk, folder: Folder, why: str
) -> None:
    await keep(archive, capture("a", request_id="one"))
    full: Callable[[], AbstractContextManager[None]] = (
        (lambda: full_folder(disk)) if why == "folder" else (lambda: log_cannot_grow(folder))
    )
    with full():
        with pytest.raises(StorageFull):
            await archive.delete("a")
        assert await archive.captures.find_by_request_id("cam", "one") is None, "it cannot be read"
    await nothing_pending(archive)
    assert folder.states() == {}
    await archive.space.refresh()
    assert archive.space.total_bytes == 0


async def test_a_row_without_its_file_after_a_sudden_end_is_reconciled(
    disk: Disk, folder: Folder
) -> None:
    archive = await Archive.open(folder.path)
    await keep(archive, capture("a"))
    with full_folder(disk):
        with pytest.raises(StorageFull):
            await archive.delete("a")
        await archive.close()
    archive = await Archive.open(folder.path)
    assert folder.states() == {"a": "FAILED"}
    await archive.space.refresh()
    assert archive.space.total_bytes == 0
    await archive.close()


# Too much is to be written.


async def test_a_full_disk_polled_20_000_times_loses_no_end_of_a_capture(
    archive: Archive, disk: Disk, folder: Folder
) -> None:
    """Refusals are dropped: counted, logged, and told to the readers of events as a gap."""
    polls = 20_000
    for name in "ab":
        archive.captures.begin(capture(name), note(1, capture_id=name))
    await written(archive)
    with capture_logs() as logs:
        with full_folder(disk):
            for number in range(polls):
                archive.captures.note(note(number))
                if number == polls // 2:
                    await archive.captures.end(failed(capture("a")))
                    archive.captures.begin(capture("c"), note(2, capture_id="c"))
                if number % 1000 == 0:
                    await asyncio.sleep(0.01)
            await archive.captures.end(failed(capture("b")))
            await archive.captures.end(failed(capture("c")))
        await nothing_pending(archive)
    assert folder.states() == {"a": "FAILED", "b": "FAILED", "c": "FAILED"}
    for name in "abc":
        await archive.delete(name)
    events = folder.events()
    dropped = archive.queue.dropped_writes
    assert dropped == polls + 6 - len(events) > polls / 4
    (told,) = [log for log in logs if log["event"] == "journal written again"]
    assert told["dropped_writes"] == dropped
    assert archive.events.last_sequence == len(events) + dropped, (
        "each has a number, or would have had"
    )
    missing = 0
    expected = 1
    async for item in archive.events.follow("", 0):
        if isinstance(item, Gap):
            missing += item.first_available_sequence - expected
            expected = item.first_available_sequence
        else:
            assert isinstance(item, EventRecord)
            assert item.sequence == expected
            expected += 1
        if expected > archive.events.last_sequence:
            break
    assert missing == dropped


async def test_when_nothing_more_can_be_noted_no_shutter_is_pressed(
    disk: Disk, folder: Folder
) -> None:
    archive = await Archive.open(folder.path, retry_s=RETRY_S, max_pending=5)
    with full_folder(disk):
        for number in range(10):
            await archive.captures.require_room("cam")
            archive.captures.begin(capture(str(number)), None)
        with pytest.raises(StorageFull, match="too much is still to be written"):
            await archive.captures.require_room("cam")
    await nothing_pending(archive)
    await archive.captures.require_room("cam")
    await archive.close()
