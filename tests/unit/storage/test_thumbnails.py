"""Thumbnails of what is kept: made once, one at a time, and kept in memory within bounds."""

import asyncio

import pytest

from camsvc.model.errors import CaptureNotFound, StorageUnavailable, Unsupported, WorkerLost
from camsvc.storage import thumbnails as thumbnails_module
from camsvc.storage.archive import Archive
from camsvc.storage.ports import Read
from camsvc.storage.thumbnails import Thumbnails
from tests.support.keeping import capture, keep, written

PICTURE = b"a picture"


class FakeThumbnailer:
    """Notes what it makes thumbnails of; one is the picture itself with a mark."""

    def __init__(self) -> None:
        self.of: list[bytes] = []
        self.fails_by: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._at_it = False

    async def make(self, read: Read, size_bytes: int) -> bytes:
        assert not self._at_it, "two at a time"
        self._at_it = True
        try:
            data = await read(0, size_bytes)
            self.of.append(data)
            await self.go_on.wait()
        finally:
            self._at_it = False
        if self.fails_by is not None:
            raise self.fails_by
        return b"small: " + data


@pytest.fixture
def maker() -> FakeThumbnailer:
    return FakeThumbnailer()


@pytest.fixture
def thumbnails(archive: Archive, maker: FakeThumbnailer) -> Thumbnails:
    return Thumbnails(archive, maker)


async def test_a_capture_without_a_picture_has_no_thumbnail(
    archive: Archive, thumbnails: Thumbnails
) -> None:
    archive.captures.begin(capture("a"), None)
    await written(archive)
    for capture_id in ("a", "unknown"):
        with pytest.raises(CaptureNotFound):
            await thumbnails.get(capture_id)


async def test_what_is_deleted_has_no_thumbnail_any_more(
    archive: Archive, thumbnails: Thumbnails
) -> None:
    await keep(archive, capture("a"), PICTURE)
    await thumbnails.get("a")
    await archive.delete("a")
    with pytest.raises(CaptureNotFound):
        await thumbnails.get("a")


async def test_the_same_one_is_made_once(
    archive: Archive, thumbnails: Thumbnails, maker: FakeThumbnailer
) -> None:
    await keep(archive, capture("a"), PICTURE)
    found = await asyncio.gather(*(thumbnails.get("a") for _ in range(10)))
    found.append(await thumbnails.get("a"))
    assert maker.of == [PICTURE]
    assert set(found) == {b"small: " + PICTURE}


async def test_many_are_made_one_at_a_time(
    archive: Archive, thumbnails: Thumbnails, maker: FakeThumbnailer
) -> None:
    ids = [f"{number:02}" for number in range(12)]
    for capture_id in ids:
        await keep(archive, capture(capture_id), PICTURE)
    await asyncio.gather(*map(thumbnails.get, ids))
    assert len(maker.of) == len(ids)


async def test_only_the_last_used_are_kept_in_memory(
    archive: Archive,
    thumbnails: Thumbnails,
    maker: FakeThumbnailer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thumbnails_module, "_KEPT", 3)
    for number in range(5):
        await keep(archive, capture(str(number)), PICTURE)
    for capture_id in "0120":
        await thumbnails.get(capture_id)
    assert len(maker.of) == 3
    await thumbnails.get("3")  # "1" was used longest ago
    maker.of.clear()
    for capture_id in "023":
        await thumbnails.get(capture_id)
    assert not maker.of
    await thumbnails.get("1")
    assert len(maker.of) == 1


async def test_a_picture_of_which_none_can_be_made_is_tried_once(
    archive: Archive, thumbnails: Thumbnails, maker: FakeThumbnailer
) -> None:
    await keep(archive, capture("a"), PICTURE, "image/x-raw")
    maker.fails_by = Unsupported("it cannot be decoded")
    for _ in range(2):
        with pytest.raises(Unsupported) as refusal:
            await thumbnails.get("a")
        assert "'a': no thumbnail can be made of its image/x-raw" in refusal.value.message
        assert refusal.value.metadata == {"camera": "cam", "capture_id": "a"}
    assert len(maker.of) == 1
    await archive.delete("a")
    with pytest.raises(CaptureNotFound):
        await thumbnails.get("a")


async def test_what_is_no_fault_of_the_picture_is_tried_again(
    archive: Archive, thumbnails: Thumbnails, maker: FakeThumbnailer
) -> None:
    await keep(archive, capture("a"), PICTURE)
    maker.fails_by = WorkerLost("the worker could not be started: too many open files")
    with pytest.raises(StorageUnavailable, match="no thumbnail can be made now: .* open files"):
        await thumbnails.get("a")
    maker.fails_by = None
    assert await thumbnails.get("a") == b"small: " + PICTURE


async def test_a_client_that_leaves_while_one_is_made_keeps_nobody_from_theirs(
    archive: Archive, thumbnails: Thumbnails, maker: FakeThumbnailer
) -> None:
    await keep(archive, capture("a"), PICTURE)
    maker.go_on.clear()
    for steps in range(10):
        leaving = asyncio.create_task(thumbnails.get("a"))
        for _ in range(steps):
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
    maker.go_on.set()
    assert await thumbnails.get("a") == b"small: " + PICTURE
    assert await archive.prune(excess_bytes=1) == 1, "nobody reads it"
