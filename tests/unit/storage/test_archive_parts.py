"""A shot that gave several files: one capture, with all of them or none."""

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from camsvc.model.errors import StorageFull
from camsvc.model.records import CaptureRecord, CaptureState, StoredImage
from camsvc.storage import schema
from camsvc.storage.archive import Archive
from camsvc.storage.files import part_name
from tests.support.keeping import (
    BOUND_S,
    DATED,
    Disk,
    Folder,
    capture,
    published,
    put_staged,
    staged,
    taken,
)
from tests.support.stills import memory
from tests.support.waiting import until

JPEG, RAW = b"a jpeg", b"the raw file"
NAMES = ("DSC_0001.JPG", "DSC_0001.NEF")


def described(data: bytes, mime_type: str, name: str) -> StoredImage:
    return StoredImage("", mime_type, 0, 0, len(data), hashlib.sha256(data).hexdigest(), name)


def both(record: CaptureRecord) -> CaptureRecord:
    """Return a capture whose two files wait in staging."""
    jpeg = replace(taken(record, JPEG), image=described(JPEG, "image/jpeg", NAMES[0]))
    return replace(jpeg, others=(described(RAW, "image/x-nikon-nef", NAMES[1]),))


def stage(archive: Archive, record: CaptureRecord) -> str:
    name = staged(archive, record, JPEG)
    put_staged(archive, part_name(name, 1), RAW)
    return name


async def keep_both(archive: Archive, capture_id: str = "a") -> CaptureRecord:
    record = capture(capture_id)
    archive.captures.begin(record, None)
    return await archive.captures.succeed(both(record), stage(archive, record))


async def test_all_files_of_a_shot_are_kept_as_one_capture(
    archive: Archive, folder: Folder
) -> None:
    kept = await keep_both(archive)
    assert [file.path for file in kept.files] == [f"{DATED}/a.jpg", f"{DATED}/a.1.nef"]
    assert folder.files() == sorted(file.path for file in kept.files)
    assert await archive.capture("a") == kept
    assert [file.name for file in kept.files] == list(NAMES)
    for number, data in enumerate((JPEG, RAW)):
        async with archive.open_image("a", lambda _, n=number: n) as reader:  # type: ignore[misc]
            assert await reader.read(0, 100) == data


async def test_its_size_is_that_of_all_files(archive: Archive, folder: Folder) -> None:
    await keep_both(archive)
    assert archive.space.total_bytes == len(JPEG) + len(RAW)
    await keep_both(archive, "b")
    assert await archive.prune(excess_bytes=1) == 1, "one capture frees enough"
    assert archive.space.total_bytes == len(JPEG) + len(RAW)
    assert folder.files() == [f"{DATED}/b.1.nef", f"{DATED}/b.jpg"]


async def test_all_files_go_with_the_capture(archive: Archive, folder: Folder) -> None:
    await keep_both(archive)
    await archive.delete("a")
    assert folder.files() == []


async def test_where_one_file_cannot_be_kept_none_is(
    archive: Archive, folder: Folder, disk: Disk
) -> None:
    record = capture("a")
    archive.captures.begin(record, None)
    path = stage(archive, record)
    disk.full = True
    with pytest.raises(StorageFull):
        await archive.captures.succeed(both(record), path)
    assert folder.files() == []


async def test_a_shot_that_is_discarded_leaves_no_file(archive: Archive, folder: Folder) -> None:
    stage(archive, capture("a1"))
    with memory() as block:
        shot = await archive.captures.stage("a", 1, block)
    put_staged(archive, part_name(shot.name, 1), RAW)
    shot.discard()

    async def discarded() -> bool:
        return folder.files() == ["staging/a1.1", "staging/a1.1.1"]

    await until(discarded, "its files are deleted, and no others", within_s=BOUND_S)


# What a sudden end leaves.


async def reopened(folder: Folder) -> Archive:
    return await Archive.open(folder.path)


async def test_files_that_were_renamed_and_never_acknowledged_are_deleted(
    folder: Folder,
) -> None:
    """The service was killed between the renaming of the first file and that of the second."""
    archive = await reopened(folder)
    archive.captures.begin(capture("a"), None)
    await archive.close()
    folder.put(f"{DATED}/a.jpg")
    folder.put("staging/a.1.1")
    archive = await reopened(folder)
    await archive.close()
    assert folder.states() == {"a": "CANCELLED"}
    assert folder.files() == []


@pytest.mark.parametrize(
    ("lost", "state", "left"),
    [
        ("a.1.nef", CaptureState.SUCCEEDED, [f"{DATED}/a.jpg"]),
        ("a.jpg", CaptureState.FAILED, ["orphans/a.1.nef"]),
    ],
)
async def test_a_capture_that_has_lost_a_file_says_so(
    folder: Folder, lost: str, state: CaptureState, left: list[str]
) -> None:
    """The picture itself is what a capture cannot be without; nothing that is left is deleted."""
    archive = await reopened(folder)
    await keep_both(archive)
    await archive.close()
    (folder.path / DATED / lost).unlink()
    for _ in range(2):
        archive = await reopened(folder)
        record, total = await archive.capture("a"), archive.space.total_bytes
        await archive.close()
        assert record.state is state
        assert record.others == ()
        assert (record.image is None) == (state is CaptureState.FAILED)
        assert total == record.size_bytes
        assert folder.files() == left


async def test_a_journal_of_the_version_before_is_read_and_written(folder: Folder) -> None:
    """Version 1 knew of one file; its captures have that one."""
    (folder.path / "captures").mkdir(parents=True)
    old = taken(replace(capture("old"), state=CaptureState.SUCCEEDED), JPEG)
    assert old.image is not None
    old = replace(old, image=replace(old.image, path=f"{DATED}/old.jpg"))
    folder.put(f"{DATED}/old.jpg", JPEG)
    with closing(sqlite3.connect(folder.path / "journal.sqlite3", isolation_level=None)) as db:
        db.executescript(schema.MIGRATIONS[0])
        db.execute("PRAGMA user_version = 1")
        db.execute("INSERT INTO meta VALUES ('secret', x'00112233445566778899aabbccddeeff')")
        db.execute(
            "INSERT INTO captures (capture_id, camera, request_id, state, create_time_ns,"
            " size_bytes, image_path, record) VALUES (?, ?, '', 'SUCCEEDED', ?, ?, ?, ?)",
            ("old", "cam", old.create_time_ns, len(JPEG), f"{DATED}/old.jpg", old.to_json()),
        )
    archive = await reopened(folder)
    assert await archive.capture("old") == old
    assert await archive.read("old") == JPEG
    await keep_both(archive, "new")
    assert archive.space.total_bytes == 2 * len(JPEG) + len(RAW)
    await archive.close()
    archive = await reopened(folder)
    assert folder.states() == {"old": "SUCCEEDED", "new": "SUCCEEDED"}
    await archive.delete("old")
    await archive.close()
    assert folder.files() == [f"{DATED}/new.1.nef", f"{DATED}/new.jpg"]


async def test_the_event_of_its_end_has_all_its_files(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with published(monkeypatch) as events:
        kept = await keep_both(archive)
    assert events[-1].capture == kept
