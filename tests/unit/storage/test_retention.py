"""What is kept for how long: the oldest go first, and what is pinned or in use stays."""

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from structlog.testing import capture_logs

from camsvc.model.records import Filter
from camsvc.storage import retention as retention_module
from camsvc.storage.archive import Archive
from camsvc.storage.files import FileStore
from camsvc.storage.retention import Policy, Retention
from tests.support.keeping import BOUND_S, DAY_NS, Disk, Folder, capture, keep, note, written
from tests.support.waiting import until

PICTURE = b"0123456789"


def ago_ns(days: float) -> int:
    return time.time_ns() - int(days * DAY_NS)


async def keep_days(archive: Archive, *ages: float, **labels: str) -> None:
    """Keep a picture of 10 bytes of each age in days; its id is the age."""
    for age in ages:
        await keep(archive, capture(f"{age:g}", created_ns=ago_ns(age), **labels), PICTURE)


async def left(archive: Archive) -> list[str]:
    """Return what is left, oldest first."""
    found = await archive.page(Filter(), before=None, limit=1000)
    return [record.capture_id for _, record in reversed(found)]


@asynccontextmanager
async def running(archive: Archive, policy: Policy) -> AsyncIterator[None]:
    task = asyncio.create_task(Retention(archive, policy).run())
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


@pytest.mark.parametrize(
    ("text", "pinned"),
    [("", None), ("keep", ("keep", "")), ("keep=yes", ("keep", "yes")), ("a=b=c", ("a", "b=c"))],
)
def test_the_pinned_label_is_a_key_with_or_without_a_value(
    text: str, pinned: tuple[str, str] | None
) -> None:
    assert Policy(pinned_label=text).pinned == pinned


async def test_without_limits_everything_stays(archive: Archive) -> None:
    await keep_days(archive, 10_000, 1)
    await Retention(archive, Policy()).enforce()
    assert await left(archive) == ["10000", "1"]
    assert archive.last_sequence == 2


async def test_what_is_too_old_goes(archive: Archive, folder: Folder) -> None:
    await keep_days(archive, 300, 71, 69, 0)
    await Retention(archive, Policy(max_age_days=70)).enforce()
    assert await left(archive) == ["69", "0"]
    assert len(folder.files()) == 2


async def test_what_is_too_much_goes_oldest_first(archive: Archive, folder: Folder) -> None:
    await keep_days(archive, 2, 4, 3, 1)
    await Retention(archive, Policy(max_bytes=25)).enforce()
    assert await left(archive) == ["2", "1"]
    assert archive.total_bytes == 20
    assert len(folder.files()) == 2


async def test_however_much_it_is_it_goes(archive: Archive) -> None:
    await keep_days(archive, *range(250, 0, -1))
    await Retention(archive, Policy(max_bytes=25)).enforce()
    assert await left(archive) == ["2", "1"]


@pytest.mark.parametrize("policy", [{"max_bytes": 1}, {"max_age_days": 1}])
async def test_what_is_pinned_stays(archive: Archive, policy: dict[str, int]) -> None:
    await keep_days(archive, 8, 6, keep="yes")
    await keep_days(archive, 7, 5, keep="no")
    await keep_days(archive, 4)
    await Retention(archive, Policy(**policy, pinned_label="keep=yes")).enforce()
    assert await left(archive) == ["8", "6"]


async def test_what_is_being_read_stays_until_the_next_time(archive: Archive) -> None:
    await keep_days(archive, 3, 2, 1)
    retention = Retention(archive, Policy(max_bytes=10))
    async with await archive.open_image("3") as picture:
        await retention.enforce()
        assert await left(archive) == ["3"], "others go in its place"
        assert await picture.read(0, 10) == PICTURE
    await keep_days(archive, 0)
    await retention.enforce()
    assert await left(archive) == ["0"]


async def test_old_events_go_by_number_and_by_age(archive: Archive) -> None:
    for age in range(2500, 0, -1):
        archive.note(note(ago_ns(age)))
    await written(archive)
    await Retention(archive, Policy(max_events=2000)).enforce()
    first = await anext(archive.follow("", 0))
    assert getattr(first, "first_available_sequence", None) == 501
    await Retention(archive, Policy(max_age_days=10.5)).enforce()
    first = await anext(archive.follow("", 0))
    assert getattr(first, "first_available_sequence", None) == 2491
    assert archive.last_sequence == 2500


async def test_the_newest_event_tells_where_the_sequence_is_though_all_have_gone(
    archive: Archive,
) -> None:
    archive.note(note(1))
    await written(archive)
    await Retention(archive, Policy(max_age_days=1)).enforce()
    archive.note(note(2))
    await written(archive)
    assert archive.last_sequence == 2


# It runs.


async def test_it_looks_with_every_picture_whether_it_is_too_much(archive: Archive) -> None:
    async with running(archive, Policy(max_bytes=25)):
        await keep_days(archive, 5, 4)
        await until_left(archive, "5", "4")
        await keep_days(archive, 3)
        await until_left(archive, "4", "3")
        await keep_days(archive, 2, 1)
        await until_left(archive, "2", "1")


async def test_a_picture_that_comes_while_it_is_at_work_is_not_overlooked(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    trim_events, came = Archive.trim_events, asyncio.Event()

    async def trimmed(archive: Archive, **about: int) -> int:
        """The last thing it does; what there is too much of has gone already."""
        if not came.is_set():
            came.set()
            await keep_days(archive, 2, 1)
        return await trim_events(archive, **about)

    monkeypatch.setattr(Archive, "trim_events", trimmed)
    await keep_days(archive, 3)
    async with running(archive, Policy(max_bytes=15)):
        await until_left(archive, "1")


async def test_it_looks_at_ages_from_time_to_time(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_module, "_INTERVAL_S", 0.01)
    async with running(archive, Policy(max_age_days=1)):
        await until_left(archive)
        await keep_days(archive, 5, 0)
        await until_left(archive, "0")


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
    monkeypatch.setattr(retention_module, "_INTERVAL_S", 0.01)
    await keep_days(archive, 3, 2)
    with capture_logs() as logs:
        disk.full = True
        async with running(archive, Policy(max_age_days=1)):

            async def in_trouble() -> bool:
                return sum("failed" in log["event"] for log in logs) > 3

            await until(in_trouble, "it has tried several times", within_s=BOUND_S)
            with failing(monkeypatch):
                logs.clear()
                await until(in_trouble, "it has tried several times", within_s=BOUND_S)
            disk.full = False
            await until_left(archive)
