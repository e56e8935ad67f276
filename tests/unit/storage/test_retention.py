"""What is kept for how long: the oldest go first, and what is pinned or in use stays."""

import asyncio
import errno
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from camsvc.config.settings import RetentionSettings
from camsvc.model import clock
from camsvc.model.clock import Moment
from camsvc.model.errors import CaptureNotFound
from camsvc.model.records import CaptureState, EventRecord, EventType, Filter
from camsvc.storage import event_queries
from camsvc.storage import queries as rows
from camsvc.storage.archive import Archive
from camsvc.storage.files import FileStore
from camsvc.storage.retention import INTERVAL_S, Retention
from camsvc.storage.trusted_clock import TrustedClock
from tests.support.keeping import BOUND_S, DAY_NS, Disk, Folder, capture, keep, note, written
from tests.support.waiting import until

PICTURE = b"0123456789"


def settings(**limits: Any) -> RetentionSettings:
    return RetentionSettings(**{"min_age_s": 0.0, **limits})


def ago_ns(days: float) -> int:
    return time.time_ns() - int(days * DAY_NS)


def running_for(days: float) -> Callable[[], Moment]:
    """Return the clocks, for one who begins with them that long ago."""
    begun, ago_ns = clock.now(), int(days * DAY_NS)
    first = [Moment(begun.wall_ns - ago_ns, begun.monotonic_ns - ago_ns)]
    return lambda: first.pop() if first else clock.now()


def retention(
    archive: Archive, limits: RetentionSettings, interval_s: float = INTERVAL_S
) -> Retention:
    """Return what has run for longer than anything is kept."""
    return Retention(archive, limits, TrustedClock(0, now=running_for(36_500)), interval_s)


async def keep_days(archive: Archive, *ages: float, **labels: str) -> None:
    """Keep a picture of 10 bytes of each age in days; its id is the age."""
    for age in ages:
        await keep(archive, capture(f"{age:g}", created_ns=ago_ns(age), **labels), PICTURE)


async def left(archive: Archive) -> list[str]:
    """Return what is left, oldest first."""
    found, _ = await archive.page(Filter(), before=None, limit=1000)
    return [record.capture_id for _, record in reversed(found)]


@asynccontextmanager
async def running(
    archive: Archive, limits: RetentionSettings, interval_s: float = INTERVAL_S
) -> AsyncIterator[None]:
    task = asyncio.create_task(retention(archive, limits, interval_s).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), "it had ended before"


async def until_left(archive: Archive, *ids: str) -> None:
    async def are_left() -> bool:
        return await left(archive) == list(ids)

    await until(are_left, f"{ids} are left", within_s=BOUND_S)


async def test_without_limits_everything_stays(archive: Archive) -> None:
    await keep_days(archive, 10_000, 1)
    await retention(archive, settings()).enforce()
    assert await left(archive) == ["10000", "1"]
    assert archive.events.last_sequence == 2


async def test_what_is_too_old_goes(archive: Archive, folder: Folder) -> None:
    await keep_days(archive, 300, 71, 69, 0)
    await retention(archive, settings(max_age_days=70)).enforce()
    assert await left(archive) == ["69", "0"]
    assert len(folder.files()) == 2


async def test_what_is_too_much_goes_oldest_first(archive: Archive, folder: Folder) -> None:
    """Those are the oldest that came first, whatever the clock said then."""
    await keep_days(archive, 2, 4, 3, 1)
    await retention(archive, settings(max_bytes=25)).enforce()
    assert await left(archive) == ["3", "1"]
    assert archive.space.total_bytes == 20
    assert len(folder.files()) == 2


async def test_however_much_it_is_it_goes(archive: Archive) -> None:
    await keep_days(archive, *range(250, 0, -1))
    await retention(archive, settings(max_bytes=25)).enforce()
    assert await left(archive) == ["2", "1"]


@pytest.mark.parametrize("limit", [{"max_bytes": 1}, {"max_age_days": 1}])
@pytest.mark.parametrize(
    ("pinned", "stay"),
    [
        ("", []),
        ("keep", ["8", "7", "6", "5", "3"]),
        ("keep=yes", ["8", "6"]),
        ("keep=a=b", ["3"]),
    ],
)
async def test_what_is_pinned_stays(
    archive: Archive, limit: dict[str, int], pinned: str, stay: list[str]
) -> None:
    """The label is a key with or without a value."""
    await keep_days(archive, 8, 6, keep="yes")
    await keep_days(archive, 7, 5, keep="no")
    await keep_days(archive, 4)
    await keep_days(archive, 3, keep="a=b")
    await retention(archive, settings(**limit, pinned_label=pinned)).enforce()
    assert await left(archive) == stay


async def test_what_is_being_read_goes_in_its_turn_and_is_read_to_its_end(
    archive: Archive, folder: Folder
) -> None:
    """Nobody keeps a picture by reading it; its bytes are there until then."""
    await keep_days(archive, 3, 2, 1)
    async with archive.open_image("3") as picture:
        assert await picture.read(0, 4) == PICTURE[:4]
        await retention(archive, settings(max_bytes=10)).enforce()
        assert await left(archive) == ["1"]
        assert len(folder.files()) == 1
        assert await picture.read(4, 10) == PICTURE[4:]


async def test_who_does_not_read_to_the_end_keeps_no_room(archive: Archive) -> None:
    await keep_days(archive, 3, 2)
    async with archive.open_image("3") as picture:
        picture.grace_s = 0.0
        assert await picture.read(0, 10) == PICTURE, "however long it is open"
        await retention(archive, settings(max_bytes=10)).enforce()
        with pytest.raises(CaptureNotFound, match="'3' was deleted or has expired while"):
            await picture.read(0, 10)


async def test_old_events_go_by_number_and_by_age(archive: Archive) -> None:
    for age in range(2500, 0, -1):
        archive.captures.note(note(ago_ns(age)))
    await written(archive)
    await retention(archive, settings(max_events=2000)).enforce()
    first = await anext(archive.events.follow("", 0))
    assert getattr(first, "first_available_sequence", None) == 501
    await retention(archive, settings(max_age_days=10.5)).enforce()
    first = await anext(archive.events.follow("", 0))
    assert getattr(first, "first_available_sequence", None) == 2491
    assert archive.events.last_sequence == 2500


async def test_the_newest_event_tells_where_the_sequence_is_though_all_have_gone(
    archive: Archive,
) -> None:
    archive.captures.note(note(1))
    await written(archive)
    await retention(archive, settings(max_age_days=1)).enforce()
    archive.captures.note(note(2))
    await written(archive)
    assert archive.events.last_sequence == 2


LABELS = {f"k{n:02}": "x" * 1021 for n in range(16)}


async def fill_journal(archive: Archive, captures: int, events: int) -> None:
    """Leave captures without pictures, with 16 KiB of labels each, and events that have as many."""

    def job(db: sqlite3.Connection) -> None:
        for number in range(captures):
            record = capture(f"none {number}", created_ns=ago_ns(2))
            failed = replace(record, state=CaptureState.FAILED, labels=LABELS)
            rows.add_capture(db, failed)
            if number < events:
                ended = EventRecord(EventType.FAILED, ago_ns(2), "cam", capture=failed)
                event_queries.add_event(db, ended)

    await archive.queue.write(job)


async def test_the_journal_counts_and_what_fills_it_goes(archive: Archive, folder: Folder) -> None:
    """Captures without a picture, and their events, also with labels that came from the captures.

    Its file shrinks, and its log does not stay.
    """
    await fill_journal(archive, 1000, 700)
    await keep_days(archive, 1, 0)
    before = folder.journal_bytes()
    assert before > 16 << 20
    await retention(archive, settings(max_bytes=1 << 20)).enforce()
    found = await left(archive)
    assert found[-2:] == ["1", "0"], "what is new stays"
    assert len(found) > 100, "no more goes than has to"
    assert archive.space.counted_bytes <= 1 << 20

    async def shrunk() -> bool:
        await archive.queue.flush()
        return (folder.path / "journal.sqlite3").stat().st_size < 12 << 20

    await until(shrunk, "the file has shrunk", within_s=BOUND_S)
    await retention(archive, settings(max_events=4096)).enforce()
    first = await anext(archive.events.follow("", 0))
    kept = 702 - getattr(first, "first_available_sequence", 0)
    assert 4 << 20 >= kept * (16 << 10) > 3 << 20, "of 1 KiB each on average"


async def test_a_journal_that_is_filled_and_emptied_does_not_grow(
    archive: Archive, folder: Folder
) -> None:
    for _ in range(4):
        await fill_journal(archive, 200, 200)
        assert await archive.prune(before=(ago_ns(1), 10**9), limit=1000) == 200
        await archive.trim_events(before_time_ns=None, keep=0, young=1)
    assert folder.journal_bytes() < 200 * 2 * (32 << 10)


# It runs.


async def test_it_looks_with_every_picture_whether_it_is_too_much(archive: Archive) -> None:
    async with running(archive, settings(max_bytes=25)):
        await keep_days(archive, 5, 4)
        await until_left(archive, "5", "4")
        await keep_days(archive, 3)
        await until_left(archive, "4", "3")
        await keep_days(archive, 2, 1)
        await until_left(archive, "2", "1")


async def test_a_picture_that_comes_while_it_is_at_work_is_not_overlooked(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    prune, came = Archive.prune, asyncio.Event()

    async def pruned(archive: Archive, **about: Any) -> int:
        """The last thing it does; more comes when there is not too much any more."""
        gone = await prune(archive, **about)
        if not came.is_set():
            came.set()
            await keep_days(archive, 2, 1)
        return gone

    monkeypatch.setattr(Archive, "prune", pruned)
    await keep_days(archive, 5, 4, 3)
    async with running(archive, settings(max_bytes=15)):
        await until_left(archive, "1")


async def test_it_looks_at_ages_from_time_to_time(archive: Archive) -> None:
    async with running(archive, settings(max_age_days=1e-5), 0.01):
        await keep_days(archive, 0)
        await until_left(archive)


async def test_what_came_a_moment_ago_is_young_whatever_its_label_says(archive: Archive) -> None:
    await keep_days(archive, 4)
    keeping = retention(archive, settings(max_age_days=1))
    await keeping.enforce()
    await keep_days(archive, 5)
    await keeping.enforce()
    assert await left(archive) == ["5"]


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "delete", fail)
        yield


async def test_trouble_with_the_disk_is_logged_and_it_goes_on(
    archive: Archive, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep_days(archive, 3, 2)
    with capture_logs() as logs:
        disk.full = True
        async with running(archive, settings(max_age_days=1), 0.01):

            async def in_trouble() -> bool:
                return sum("failed" in log["event"] for log in logs) > 3

            await until(in_trouble, "it has tried several times", within_s=BOUND_S)
            with failing(monkeypatch):
                logs.clear()
                await until(in_trouble, "it has tried several times", within_s=BOUND_S)
            disk.full = False
            await until_left(archive)


# What was acknowledged a moment ago stays.

MIN_AGE_S = 0.4


@asynccontextmanager
async def opened(folder: Folder, min_age_s: float) -> AsyncIterator[Archive]:
    archive = await Archive.open(folder.path, min_age_s=min_age_s)
    try:
        yield archive
    finally:
        await archive.close()


@pytest.mark.parametrize("limit", [{"max_bytes": 1}, {"max_age_days": 1}])
async def test_what_was_acknowledged_a_moment_ago_stays(
    folder: Folder, limit: dict[str, int]
) -> None:
    """However old its beginning is, and so it answers for its request id."""
    async with opened(folder, 60) as archive:
        await keep_days(archive, 3)
    async with opened(folder, MIN_AGE_S) as archive:
        await keep(archive, capture("a", created_ns=ago_ns(5), request_id="one"), PICTURE)
        await retention(archive, settings(**limit)).enforce()
        assert await left(archive) == ["a", "3"], "a start is no reason to forget what was told"
        await asyncio.sleep(MIN_AGE_S)
        await retention(archive, settings(**limit)).enforce()
        assert await left(archive) == []


async def test_what_is_answered_again_stays_as_long_again(folder: Folder) -> None:
    async with opened(folder, MIN_AGE_S) as archive:
        await keep(archive, capture("a", request_id="one"), PICTURE)
        await keep(archive, capture("b", request_id="two"), PICTURE)
        await asyncio.sleep(MIN_AGE_S)
        assert await archive.captures.find_by_request_id("cam", "one") is not None
        assert await archive.prune(excess_bytes=99) == 1
        assert await left(archive) == ["a"]


async def test_too_much_that_is_young_goes_when_it_is_old_enough(folder: Folder) -> None:
    limits = settings(max_bytes=15, min_age_s=MIN_AGE_S)
    async with opened(folder, MIN_AGE_S) as archive, running(archive, limits):
        started = asyncio.get_running_loop().time()
        await keep_days(archive, 3, 2, 1)
        await until_left(archive, "1")
        assert asyncio.get_running_loop().time() - started > MIN_AGE_S
