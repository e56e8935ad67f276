"""Pictures and what is known of them are kept in the order that loses nothing, and read."""

import asyncio
import threading
from contextlib import closing
from dataclasses import replace

import psutil
import pytest

from camsvc.model.errors import CaptureNotFound, StorageFull, StorageUnavailable
from camsvc.model.records import CaptureState, EventType, Failure
from camsvc.storage.archive import Archive
from camsvc.storage.files import FileStore
from tests.support.keeping import (
    BOUND_S,
    DATED,
    Folder,
    capture,
    keep,
    note,
    published,
    stage_another,
    staged,
    taken,
    written,
)
from tests.support.waiting import until

# A picture is kept.


async def test_a_picture_that_is_acknowledged_is_whole_in_its_place_and_in_the_journal(
    archive: Archive, folder: Folder
) -> None:
    kept = await keep(archive, capture("a", point="1"), b"all of it")
    assert kept.state is CaptureState.SUCCEEDED
    assert kept.image is not None
    assert kept.image.path == f"{DATED}/a.jpg"
    assert (folder.path / kept.image.path).read_bytes() == b"all of it"
    assert folder.files() == [kept.image.path], "nothing is left in staging"
    assert await archive.capture("a") == kept
    assert await archive.read("a") == b"all of it"
    assert archive.space.total_bytes == 9


async def test_the_file_is_in_its_place_before_the_row_and_the_row_before_the_event(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, str, bool]] = []
    place = folder.path / DATED / "a.jpg"

    def seen(step: str) -> None:
        steps.append((step, folder.states().get("a", "none"), place.exists()))

    sync = FileStore.sync

    def synced(store: FileStore) -> None:
        sync(store)
        seen("synced")

    monkeypatch.setattr(FileStore, "sync", synced)
    archive = await Archive.open(folder.path)
    archive.captures.begin(capture("a"), None)
    await written(archive)
    steps.clear()
    with published(monkeypatch) as events:
        path = staged(archive, capture("a"))
        seen("staged")
        await archive.captures.succeed(taken(capture("a"), b"picture"), path)
        seen("acknowledged")
    assert steps == [
        ("staged", "RUNNING", False),
        ("synced", "RUNNING", True),
        ("acknowledged", "SUCCEEDED", True),
    ]
    (event,) = events
    assert (event.type, event.sequence, event.capture_id) == (EventType.SUCCEEDED, 1, "a")
    assert event.capture == await archive.capture("a")
    await archive.close()


async def test_keeping_takes_its_part_of_the_time(archive: Archive) -> None:
    archive.captures.begin(capture("a"), None)
    record = replace(taken(capture("a"), b"picture"), store_s=1.0, total_s=2.0)
    kept = await archive.captures.succeed(record, staged(archive, record))
    assert 0 < kept.store_s - 1.0 == pytest.approx(kept.total_s - 2.0)


async def test_a_request_id_leads_to_the_picture_that_was_kept_under_it(archive: Archive) -> None:
    kept = await keep(archive, capture("a", request_id="one"))
    archive.captures.begin(capture("b", request_id="two"), None)
    failed = replace(capture("c", request_id="three"), state=CaptureState.FAILED)
    archive.captures.begin(capture("c", request_id="three"), None)
    await archive.captures.end(replace(failed, failure=Failure("CAMERA_UNAVAILABLE", "lost")))
    assert await archive.captures.find_by_request_id("cam", "one") == kept
    assert await archive.captures.find_by_request_id("other", "one") is None, (
        "an id is a camera's own"
    )
    for request_id in ("two", "three", ""):
        assert await archive.captures.find_by_request_id("cam", request_id) is None


async def test_a_second_picture_of_a_request_id_is_not_kept(
    archive: Archive, folder: Folder
) -> None:
    first = await keep(archive, capture("a", request_id="one"))
    with pytest.raises(StorageUnavailable):
        await keep(archive, capture("b", request_id="one"))
    assert await archive.captures.find_by_request_id("cam", "one") == first
    assert folder.files() == [f"{DATED}/a.jpg"]


async def test_a_capture_without_a_picture_is_kept_with_its_error(archive: Archive) -> None:
    archive.captures.begin(capture("a"), None)
    failure = Failure("CAMERA_UNAVAILABLE", "it is gone", {"camera": "cam"}, 3.0)
    ended = replace(capture("a"), state=CaptureState.FAILED, failure=failure)
    await archive.captures.end(ended)
    assert await archive.capture("a") == ended
    assert archive.events.last_sequence == 1


async def test_a_slow_disk_slows_down_those_who_cause_many_events(archive: Archive) -> None:
    await archive.captures.wait_for_backlog()
    for number in range(3000):
        archive.captures.note(note(number))
    assert archive.queue.pending == 3000
    await archive.captures.wait_for_backlog()
    assert archive.queue.pending == 0


# Room.


async def test_without_room_for_another_picture_it_is_refused_before_the_shutter(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await keep(archive, capture("a", request_id="one"), b"x" * 1000)
    monkeypatch.setattr(FileStore, "free_bytes", lambda store: 1999)
    with pytest.raises(StorageFull, match="1,999 bytes are free and 2,000 are needed") as refusal:
        await archive.captures.require_room("cam")
    assert refusal.value.metadata == {"camera": "cam"}
    assert refusal.value.retry_after_s is None
    assert await archive.captures.find_by_request_id("cam", "one") == kept, (
        "what is kept needs no room"
    )
    with pytest.raises(StorageFull, match="8,388,608 are needed"):
        await archive.captures.require_room("new")  # of whose pictures no size is known yet
    monkeypatch.setattr(FileStore, "free_bytes", lambda store: 2000)
    await archive.captures.require_room("cam")


async def test_what_the_settings_keep_free_stays_free(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = await Archive.open(folder.path, reserve_bytes=10_000)
    await keep(archive, capture("a"), b"x" * 1000)
    monkeypatch.setattr(FileStore, "free_bytes", lambda store: 11_999)
    with pytest.raises(StorageFull, match="12,000 are needed"):
        await archive.captures.require_room("cam")
    await archive.close()


# It is read.


async def test_a_picture_is_read_in_parts(archive: Archive) -> None:
    await keep(archive, capture("a"), b"0123456789")
    async with archive.open_image("a") as picture:
        assert picture.image.size_bytes == 10
        assert await picture.read(2, 3) == b"234"
        assert await picture.read(8, 5) == b"89"
        assert await picture.read(10, 5) == b""


async def test_what_is_deleted_while_it_is_read_is_read_to_its_end(
    archive: Archive, folder: Folder
) -> None:
    await keep(archive, capture("a"), b"0123456789")
    async with archive.open_image("a") as picture:
        await archive.delete("a")
        assert folder.files() == []
        with pytest.raises(CaptureNotFound):
            await archive.read("a")
        assert await picture.read(0, 10) == b"0123456789"


async def test_a_capture_without_a_picture_has_none_to_read(archive: Archive) -> None:
    archive.captures.begin(capture("a"), None)
    await written(archive)
    with pytest.raises(CaptureNotFound, match="has no picture: it is RUNNING"):
        await archive.read("a")


async def test_a_picture_that_was_taken_away_is_not_found(archive: Archive, folder: Folder) -> None:
    await keep(archive, capture("a"))
    (folder.path / DATED / "a.jpg").unlink()
    with pytest.raises(CaptureNotFound):
        await archive.read("a")
    assert await archive.prune(excess_bytes=1) == 1, "nobody reads it"


async def test_readers_that_wait_for_the_disk_hold_up_nobody_else(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for capture_id in "ab":
        await keep(archive, capture(capture_id))
    release, waiting = threading.Event(), list[int]()

    def hung(*_: object) -> bytes:
        waiting.append(threading.get_ident())
        assert release.wait(BOUND_S)
        return b""

    monkeypatch.setattr("camsvc.storage.image_reader.posix.read_at", hung)
    readers = [asyncio.create_task(archive.read("a")) for _ in range(40)]

    async def all_threads_wait() -> bool:
        return len(waiting) >= 16

    await until(all_threads_wait, "no thread is left", within_s=BOUND_S)
    await archive.delete("b")
    await stage_another(archive)
    await keep(archive, capture("d"))
    assert not any(reader.done() for reader in readers)
    release.set()
    await asyncio.gather(*readers)


async def test_who_leaves_while_a_picture_is_opened_leaves_nothing_open(archive: Archive) -> None:
    await keep(archive, capture("a"))
    await archive.read("a")
    before = psutil.Process().num_fds()

    async def open_for_ever() -> None:
        async with archive.open_image("a"):
            await asyncio.get_running_loop().create_future()

    for steps in range(30):
        opening = asyncio.ensure_future(open_for_ever())
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])

    async def closed() -> bool:
        return psutil.Process().num_fds() == before

    await until(closed, "whatever was opened is closed")
    assert await archive.prune(excess_bytes=1) == 1, "nobody reads it"


async def test_the_database_can_be_read_beside_the_service(
    archive: Archive, folder: Folder
) -> None:
    await keep(archive, capture("a"))
    with closing(folder.database()) as db:
        assert db.execute("SELECT image_path FROM captures").fetchall() == [(f"{DATED}/a.jpg",)]
