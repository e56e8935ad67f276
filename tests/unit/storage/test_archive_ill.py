"""A disk that keeps nothing for a while: no picture that was taken is lost or taken twice."""

import asyncio
import errno
import shutil
import sqlite3
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camsvc.model.errors import CameraServiceError, StorageFull, StorageUnavailable
from camsvc.model.records import CaptureRecord, CaptureState, Failure
from camsvc.storage.archive import Archive
from tests.support.keeping import (
    BOUND_S,
    RETRY_S,
    Disk,
    Folder,
    capture,
    keep,
    note,
    nothing_pending,
    stage_another,
    written,
)
from tests.support.misdeeds import TINY_JPEG
from tests.support.stills import captured, described, memory
from tests.support.waiting import until

HELD_S = 60.0


class Camera:
    """Takes a picture where a real one would, and counts that."""

    def __init__(self, archive: Archive, disk: Disk) -> None:
        self.archive, self.disk = archive, disk
        self.presses = Counter[str]()

    async def ask(self, request_id: str, then_ill: int | None = None) -> CaptureRecord:
        """Have a request answered; with its picture, the disk gets `then_ill`."""
        store = self.archive.captures
        if (found := await store.find_by_request_id("cam", request_id)) is not None:
            return found
        await store.require_room("cam")
        record = capture(f"{request_id}-{self.presses[request_id]}", request_id=request_id)
        data = TINY_JPEG + request_id.encode()
        store.begin(record, None)
        try:
            with memory() as block:
                shot = await store.stage(record.capture_id, 1, block)
                block.write_still([data])
            self.presses[request_id] += 1
            if then_ill is not None:
                self.disk.ill = then_ill
            files = (await shot.take(captured(described(data)), "JPEG", 0)).files
            return await store.succeed(replace(record, image=files[0]), shot.name)
        except CameraServiceError as error:
            await store.end(replace(record, state=CaptureState.FAILED, failure=Failure.of(error)))
            raise


ILL = st.sampled_from([0, 0, errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EROFS])
STEPS = st.lists(st.tuples(st.sampled_from(["one", "two"]), ILL, ILL, st.booleans()), max_size=8)
"""Who asks, how the disk is then, how it is when the picture is there, and whether the service is
started again afterwards, with a disk that is well."""


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_each_request_has_one_picture_however_the_disk_is_meanwhile(
    steps: list[tuple[str, int, int, bool]],
) -> None:
    asyncio.run(live_through(steps))


async def live_through(steps: list[tuple[str, int, int, bool]]) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        disk, folder = Disk(patch), Folder(Path(name) / "data")
        archive = await Archive.open(folder.path, retry_s=RETRY_S, min_age_s=HELD_S)
        camera = Camera(archive, disk)
        for request_id, ill, then_ill, restarts in steps:
            disk.ill = ill
            try:
                await camera.ask(request_id, then_ill)
            except (StorageFull, StorageUnavailable):
                assert disk.ill or archive.disk.fault
            if restarts:
                await archive.close()
                disk.ill = 0
                archive = await Archive.open(folder.path, retry_s=RETRY_S, min_age_s=HELD_S)
                camera.archive = archive
        disk.ill = 0
        await until_well(archive)
        answers = await asyncio.gather(*map(camera.ask, ["one", "two"]))
        again = await asyncio.gather(*map(camera.ask, ["one", "two", "one", "two"]))
        assert again == [*answers, *answers]
        assert camera.presses == {"one": 1, "two": 1}
        await until_swept(folder)
        assert folder.files() == sorted(answer.files[0].path for answer in answers)
        await nothing_pending(archive)
        states = Counter(folder.states().values())
        assert states["SUCCEEDED"] == 2
        assert not states["RUNNING"]
        await archive.close()


async def test_a_picture_that_is_asked_for_twice_at_once_is_kept_once(
    disk: Disk, folder: Folder
) -> None:
    archive = await Archive.open(folder.path, retry_s=RETRY_S, min_age_s=HELD_S)
    camera = Camera(archive, disk)
    with pytest.raises(StorageUnavailable):
        await camera.ask("one", errno.EIO)
    held = folder.files()
    assert held == ["staging/one-0.1", "staging/one-0.1.json"], "also where it was renamed already"
    disk.ill = 0
    impatient = asyncio.create_task(camera.ask("one"))
    await asyncio.sleep(0)
    answers = await asyncio.gather(camera.ask("one"), camera.ask("one"))
    impatient.cancel()
    assert answers[0] == answers[1]
    assert camera.presses["one"] == 1
    await until_swept(folder)
    assert folder.files() == [answers[0].files[0].path]
    await archive.close()


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_picture_that_nobody_asks_for_is_swept(
    disk: Disk, folder: Folder, restarts: bool
) -> None:
    archive = await Archive.open(folder.path, retry_s=RETRY_S, min_age_s=0.5)
    with pytest.raises(StorageUnavailable):
        await Camera(archive, disk).ask("one", errno.EIO)
    assert len(folder.files()) == 2, "the picture, and the note of it"
    if restarts:
        await archive.close()
        disk.ill = 0
        assert len(folder.files()) == 2
        archive = await Archive.open(folder.path, retry_s=RETRY_S, min_age_s=0.5)
        assert len(folder.files()) == 2
    disk.ill = 0
    await until_swept(folder)
    await archive.close()


@pytest.mark.parametrize("text", ["", '{"camera": "cam"', '{"of a later version": 1}'])
async def test_a_note_that_cannot_be_read_goes_with_its_picture(folder: Folder, text: str) -> None:
    folder.put("staging/a.1")
    folder.put("staging/a.1.json", text.encode())
    archive = await Archive.open(folder.path, min_age_s=HELD_S)
    assert not folder.files()
    await archive.close()
    assert not folder.files()


async def until_swept(folder: Folder) -> None:
    async def swept() -> bool:
        return not [path for path in folder.files() if path.startswith("staging/")]

    await until(swept, "it is gone", within_s=BOUND_S)


async def test_a_fault_that_cannot_be_seen_is_found_by_writing(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it has cost a picture, no other is taken until a file can be written and synced."""

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    error = StorageUnavailable("a picture cannot be written")
    archive.captures.begin(capture("a"), None)
    await archive.captures.end(
        replace(capture("a"), state=CaptureState.FAILED, failure=Failure.of(error))
    )
    with monkeypatch.context() as patch:
        patch.setattr("camsvc.storage.files.os.fsync", fail)
        with pytest.raises(StorageUnavailable, match="EIO"):
            await stage_another(archive)
    await until_well(archive)


async def until_well(archive: Archive) -> None:
    async def well() -> bool:
        try:
            await stage_another(archive)
        except StorageUnavailable:
            return False
        return True

    await until(well, "pictures can be kept again", within_s=BOUND_S)


@pytest.mark.parametrize("lost", ["journal.sqlite3", "."])
async def test_a_journal_that_was_deleted_is_put_back(
    archive: Archive, folder: Folder, lost: str
) -> None:
    """With all that was in it; only the files are gone."""
    await keep(archive, capture("a", request_id="one"))
    archive.captures.note(note(1))
    await written(archive)
    before = folder.events()
    for path in folder.path.glob("journal.sqlite3*"):
        path.unlink()
    if lost == ".":
        shutil.rmtree(folder.path)
    await stage_another(archive)
    await keep(archive, capture("b"))
    assert folder.events() == [*before, "SUCCEEDED b"]
    assert folder.states() == {"a": "SUCCEEDED", "b": "SUCCEEDED"}
    found = await archive.captures.find_by_request_id("cam", "one")
    assert found is not None
    assert found.capture_id == "a"


async def test_a_journal_in_the_place_of_ours_is_left_alone_until_ours_is_back(
    archive: Archive, folder: Folder
) -> None:
    await keep(archive, capture("a"))
    other = folder.path / "other"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    theirs = other.read_bytes()
    journal = folder.path / "journal.sqlite3"
    ours = journal.rename(folder.path / "ours")
    other.replace(journal)
    with pytest.raises(StorageUnavailable, match="replaced"):
        await stage_another(archive)
    assert journal.read_bytes() == theirs
    ours.replace(journal)
    await until_well(archive)
    await keep(archive, capture("b"))
    assert folder.states() == {"a": "SUCCEEDED", "b": "SUCCEEDED"}
