"""What is deleted, by a client or by retention, goes in the order that loses nothing else."""

import asyncio
import threading
from unittest.mock import AsyncMock

import pytest
from structlog.testing import capture_logs

from camsvc.model.errors import CameraBusy, CaptureNotFound
from camsvc.model.records import CaptureState, Filter
from camsvc.storage.archive import Archive
from camsvc.storage.disk_check import DiskCheck
from camsvc.storage.files import FileStore
from tests.support.keeping import (
    BOUND_S,
    CREATED_NS,
    DATED,
    DAY_NS,
    Folder,
    capture,
    keep,
    written,
)
from tests.support.waiting import until


async def test_rows_go_before_files_so_that_none_is_without_its_picture(
    archive: Archive, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[dict[str, str], list[tuple[object, ...]], bool]] = []
    delete = FileStore.delete

    def deleted(store: FileStore, relative: str) -> None:
        there = (folder.path / relative).exists()
        steps.append((folder.states(), folder.rows("SELECT path FROM doomed"), there))
        delete(store, relative)

    await keep(archive, capture("a"))
    monkeypatch.setattr(FileStore, "delete", deleted)
    await archive.delete("a")
    await written(archive)
    assert steps == [({}, [(f"{DATED}/a.jpg",)], True)]
    assert folder.files() == []
    assert folder.rows("SELECT path FROM doomed") == []
    assert archive.space.total_bytes == 0


async def test_a_deleted_capture_is_unknown_and_its_events_stay(
    archive: Archive, folder: Folder
) -> None:
    await keep(archive, capture("a", request_id="one"))
    await archive.delete("a")
    for asked in (archive.capture("a"), archive.read("a"), archive.delete("a")):
        with pytest.raises(CaptureNotFound) as unknown:
            await asked
        assert unknown.value.metadata["capture_id"] == "a"
    assert (await archive.page(Filter(), before=None, limit=10))[0] == []
    assert await archive.captures.find_by_request_id("cam", "one") is None, (
        "its request id is forgotten"
    )
    assert folder.events() == ["SUCCEEDED a"]
    again = await keep(archive, capture("b", request_id="one"))
    assert await archive.captures.find_by_request_id("cam", "one") == again


async def test_a_capture_under_way_cannot_be_deleted(archive: Archive) -> None:
    archive.captures.begin(capture("a"), None)
    await written(archive)
    with pytest.raises(CameraBusy) as refusal:
        await archive.delete("a")
    assert refusal.value.retry_after_s
    assert (await archive.capture("a")).state is CaptureState.RUNNING


async def test_deleted_by_several_at_once_it_is_counted_once(
    archive: Archive, folder: Folder
) -> None:
    await keep(archive, capture("a"), b"12345")
    await keep(archive, capture("b", created_ns=CREATED_NS + 1), b"123")
    found = await asyncio.gather(
        *(archive.delete("a") for _ in range(3)),
        archive.prune(before=(CREATED_NS + 1, 2**63 - 1)),
        return_exceptions=True,
    )
    assert all(one is None or isinstance(one, int | CaptureNotFound) for one in found)
    assert archive.space.total_bytes == 3
    assert folder.files() == [f"{DATED}/b.jpg"]


@pytest.mark.parametrize("steps", range(12))
async def test_a_deletion_whose_client_leaves_is_done_or_was_never_begun(
    folder: Folder, steps: int
) -> None:
    """The steps of the event loop after which it may leave are tried one by one."""
    archive = await Archive.open(folder.path)
    await keep(archive, capture("a"))
    deleting = asyncio.create_task(archive.delete("a"))
    for _ in range(steps):
        await asyncio.sleep(0)
    deleting.cancel()
    await asyncio.wait([deleting])
    await archive.close()
    assert len(folder.files()) == len(folder.states())
    assert folder.rows("SELECT path FROM doomed") == []


# It is pruned.


async def kept_days(archive: Archive, *labels: str) -> None:
    """Keep a picture of 10 bytes on each of the first days of the year, with a label or none."""
    for day, label in enumerate(labels):
        pin = {"keep": label} if label else {}
        record = capture(str(day), created_ns=CREATED_NS + day * DAY_NS, **pin)
        await keep(archive, record, b"0123456789")


async def left(archive: Archive) -> list[str]:
    found, _ = await archive.page(Filter(), before=None, limit=100)
    return [record.capture_id for _, record in reversed(found)]


async def test_what_is_older_than_a_time_goes_oldest_first(archive: Archive) -> None:
    await kept_days(archive, "", "", "", "")
    assert await archive.prune(before=(CREATED_NS + 2 * DAY_NS, 2**63 - 1), limit=1) == 1
    assert await left(archive) == ["1", "2", "3"]
    assert await archive.prune(before=(CREATED_NS + 2 * DAY_NS, 2**63 - 1)) == 1
    assert await archive.prune(before=(CREATED_NS + 2 * DAY_NS, 2**63 - 1)) == 0
    assert await left(archive) == ["2", "3"]


@pytest.mark.parametrize(("excess_bytes", "gone"), [(0, 0), (1, 1), (10, 1), (11, 2), (999, 4)])
async def test_as_many_go_as_take_the_bytes_that_are_too_many(
    archive: Archive, folder: Folder, excess_bytes: int, gone: int
) -> None:
    await kept_days(archive, "", "", "", "")
    assert await archive.prune(excess_bytes=excess_bytes) == gone
    assert await left(archive) == ["0", "1", "2", "3"][gone:]
    assert len(folder.files()) == 4 - gone
    assert archive.space.total_bytes == 10 * (4 - gone)


@pytest.mark.parametrize(("pin", "stays"), [(("keep", "yes"), ["1"]), (("keep", ""), ["1", "2"])])
async def test_what_carries_the_pinned_label_stays(
    archive: Archive, pin: tuple[str, str], stays: list[str]
) -> None:
    await kept_days(archive, "", "yes", "no", "")
    assert await archive.prune(excess_bytes=999, without_label=pin) == 4 - len(stays)
    assert await left(archive) == stays


async def test_a_capture_under_way_is_not_pruned(archive: Archive) -> None:
    archive.captures.begin(capture("a", created_ns=1), None)
    await kept_days(archive, "")
    assert await archive.prune(excess_bytes=999) == 1
    assert await left(archive) == ["a"]


async def test_an_unforeseen_error_of_a_deletion_is_told_and_logged(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("unforeseen")

    await keep(archive, capture("a", request_id="one"))
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(FileStore, "delete", fail)
        with pytest.raises(RuntimeError, match="unforeseen"):
            await archive.delete("a")
        await asyncio.sleep(0)
    assert [(log["event"], log["log_level"]) for log in logs] == [("captures not deleted", "error")]
    with pytest.raises(CaptureNotFound):
        await archive.delete("a")


async def test_a_capture_that_is_being_deleted_answers_for_its_request_id_no_more(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that was told of it now could not fetch it."""
    release = threading.Event()
    # Which would wait for the writer, too.
    monkeypatch.setattr(DiskCheck, "require", AsyncMock(return_value=1 << 40))
    await keep(archive, capture("a", request_id="one"))
    archive.queue.post(lambda db: release.wait(BOUND_S))  # which holds the writer's thread up
    deleting = asyncio.create_task(archive.prune(excess_bytes=1))

    async def forgotten() -> bool:
        return await archive.captures.find_by_request_id("cam", "one") is None

    await until(forgotten, "its request id takes a new one", within_s=BOUND_S)
    assert (await archive.capture("a")).request_id == "one", "its row is still there"
    release.set()
    assert await deleting == 1
