"""A shot is what its worker says, or its attempt has failed; what was copied is what is kept."""

import asyncio
import contextlib
import errno
import hashlib
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from camsvc.ipc.shared_memory import SLOT_BYTES, SharedBlock
from camsvc.model.errors import CameraServiceError, StorageFull, StorageUnavailable, WorkerLost
from camsvc.storage.archive import Archive
from camsvc.storage.copying import copy
from camsvc.storage.staged_shot import StagedShot
from camsvc.system.folder import Folder as Held
from tests.support import raw_files
from tests.support.keeping import BOUND_S, Folder
from tests.support.stills import captured, described, memory
from tests.support.waiting import until

JPEG, PNG, RAW = b"\xff\xd8 a jpeg", b"\x89PNG\r\n\x1a\n", raw_files.tiff()
LARGE = JPEG + bytes(range(256)) * 160_000
"""Copied in three pieces."""
NO_SUCH_STACK_BYTES = 1 << 47
"""More than a process can address: no thread starts with it."""
HOUR_NS = 3600 * 10**9


class Stage:
    """A worker's memory, and the place for its shot."""

    def __init__(self, archive: Archive, folder: Folder, block: SharedBlock) -> None:
        self.archive, self.folder, self.block = archive, folder, block

    async def place(self) -> StagedShot:
        return await self.archive.captures.stage("a", 1, self.block)

    async def until_left(self, *files: str) -> None:
        async def left() -> bool:
            return self.folder.files() == sorted(files)

        await until(left, f"left are {files}", within_s=BOUND_S)


@pytest.fixture
async def stage(archive: Archive, folder: Folder) -> AsyncIterator[Stage]:
    with memory() as block:
        yield Stage(archive, folder, block)


@pytest.mark.parametrize("inline_bytes", [0, len(LARGE)], ids=["in pieces", "as a whole"])
@pytest.mark.parametrize("data", [JPEG, LARGE], ids=["small", "large"])
async def test_what_is_copied_is_what_is_described(
    stage: Stage, data: bytes, inline_bytes: int
) -> None:
    stage.block.write_still([data[:7], data[7:], RAW])
    shot = await stage.place()
    image, raw = described(data, name="1.JPG"), described(RAW, "image/x-nikon-nef")
    taken = await shot.take(captured(image, raw), "JPEG", inline_bytes)
    assert [(f.size_bytes, f.mime_type, f.sha256, f.name) for f in taken.files] == [
        (len(data), "image/jpeg", hashlib.sha256(data).hexdigest(), "1.JPG"),
        (len(RAW), "image/x-nikon-nef", hashlib.sha256(RAW).hexdigest(), ""),
    ]
    assert taken.data == (data if inline_bytes else None)
    assert (stage.folder.path / "staging" / "a.1").read_bytes() == data
    assert (stage.folder.path / "staging" / "a.1.1").read_bytes() == RAW
    assert stage.block.still_bytes <= 16 << 20, "most of a large one's memory is given back"


async def test_it_is_synced_when_it_is_whole(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def fsync(fd: int) -> None:
        sizes.append(os.fstat(fd).st_size)
        really(fd)

    really = os.fsync
    stage.block.write_still([LARGE])
    shot = await stage.place()
    monkeypatch.setattr(os, "fsync", fsync)
    await shot.take(captured(described(LARGE)), "JPEG", 0)
    assert sizes == [len(LARGE)]


async def test_it_needs_no_second_thread(stage: Stage) -> None:
    """A container may have none left: then it takes longer, and the picture is not lost."""
    stage.block.write_still([JPEG])
    file = stage.archive.captures.store.staging.create("a.1")
    before = threading.stack_size(NO_SUCH_STACK_BYTES)
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threading.Thread().start()
        with file:
            stored, _ = copy(stage.block, 0, described(JPEG), file)
    finally:
        threading.stack_size(before)
    assert stored.sha256 == hashlib.sha256(JPEG).hexdigest()
    assert (stage.folder.path / "staging" / "a.1").read_bytes() == JPEG


async def test_its_file_is_there_before_the_shutter_and_others_may_not_read_it(
    stage: Stage,
) -> None:
    shot = await stage.place()
    path = stage.folder.path / "staging" / "a.1"
    assert path.stat().st_mode & 0o137 == 0
    shot.discard()
    await stage.until_left()


async def test_no_file_is_written_over_or_taken_away(stage: Stage) -> None:
    path = stage.folder.put("staging/a.1", b"somebody's")
    with pytest.raises(StorageUnavailable, match="EEXIST") as caught:
        await stage.place()
    assert str(stage.folder.path) not in str(caught.value)
    assert path.read_bytes() == b"somebody's"


async def test_a_worker_that_has_ended_takes_no_picture(stage: Stage) -> None:
    stage.block.close()
    with pytest.raises(WorkerLost, match="ended before"):
        await stage.place()
    assert stage.folder.files() == []


LIES: dict[str, tuple[bytes, Any, str, str]] = {
    "more bytes": (JPEG, {"size_bytes": len(JPEG) + 1}, "JPEG", "announced 10 bytes and wrote 9"),
    "fewer bytes": (JPEG, {"size_bytes": 1}, "JPEG", "announced 1 bytes and wrote 9"),
    "all there may be": (JPEG, {"size_bytes": SLOT_BYTES}, "JPEG", "1073741824 bytes and wrote"),
    "another type": (JPEG, {"mime_type": "image/png"}, "JPEG", "'image/png'.* the kind JPEG"),
    "no type at all": (JPEG, {"mime_type": "../../x"}, "JPEG", "the kind JPEG"),
    "no picture": (b"<html>", {}, "JPEG", "and wrote an HTML page"),
    "a page, said to be one": (b"<html>", {"mime_type": "text/html"}, "JPEG", "asked for a JPEG"),
    "a JPEG for a RAW": (JPEG, {}, "RAW", "asked for a RAW and wrote a file of the kind JPEG"),
    "a PNG for a JPEG": (PNG, {"mime_type": "image/png"}, "JPEG", "asked for a JPEG"),
    "tomorrow": (JPEG, {"acquisition_time_ns": time.time_ns() + 24 * HOUR_NS}, "JPEG", "ahead of"),
    "yesterday": (JPEG, {"acquisition_time_ns": 1}, "JPEG", "before now; allowed"),
    "a minute ago": (
        JPEG,
        {"acquisition_time_ns": time.time_ns() - HOUR_NS // 60},
        "JPEG",
        r"taken \d+\.\d+ s before it was asked for",
    ),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_worker_that_says_what_is_not_so_is_lost(stage: Stage, lie: str) -> None:
    data, wrong, image_format, words = LIES[lie]
    stage.block.write_still([data])
    shot = await stage.place()
    with pytest.raises(WorkerLost, match=words):
        await shot.take(captured(described(data, **wrong)), image_format, 1000)
    shot.discard()
    await stage.until_left()


async def test_the_further_files_are_checked_like_the_first(stage: Stage) -> None:
    stage.block.write_still([JPEG, b"<html>"])
    shot = await stage.place()
    with pytest.raises(WorkerLost, match="'image/x-nikon-nef' and wrote an HTML page"):
        await shot.take(captured(described(JPEG), described(b"<html>", "image/x-nikon-nef")), "", 0)
    shot.discard()
    await stage.until_left()


async def test_memory_that_is_cut_off_meanwhile_is_a_lost_worker(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no bus error: it is read, not mapped."""
    stage.block.write_still([LARGE])
    shot = await stage.place()
    really = SharedBlock.read

    def read(block: SharedBlock, slot: int, size_bytes: int, offset: int = 0) -> bytes:
        os.ftruncate(stage.block.fd, 0)
        return really(block, slot, size_bytes, offset)

    monkeypatch.setattr(SharedBlock, "read", read)
    with pytest.raises(WorkerLost, match="announced 16777216 bytes and wrote 0"):
        await shot.take(captured(described(LARGE)), "JPEG", 0)
    shot.discard()
    await stage.until_left()


def link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def hard_link(path: Path, outside: Path) -> None:
    path.hardlink_to(outside)


def another(path: Path, outside: Path) -> None:
    path.write_bytes(outside.read_bytes())


def fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def folder_of_files(path: Path, _: Path) -> None:
    path.mkdir()
    (path / "within").touch()


def device(path: Path, _: Path) -> None:
    try:
        os.mknod(path, 0o020600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


@pytest.mark.parametrize("put", [link, hard_link, another, fifo, folder_of_files, device])
async def test_what_is_put_in_the_place_of_its_file_is_neither_kept_nor_followed(
    stage: Stage, tmp_path: Path, put: Callable[[Path, Path], None]
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(JPEG)
    before = outside.stat()
    stage.block.write_still([JPEG])
    shot = await stage.place()
    path = stage.folder.path / "staging" / "a.1"
    path.unlink()
    put(path, outside)
    with pytest.raises(WorkerLost, match="was replaced while it was written"):
        await shot.take(captured(described(JPEG)), "JPEG", 1000)
    shot.discard()

    async def gone() -> bool:
        return not os.listdir(path.parent)  # not `exists`, which follows links

    await until(gone, "it is removed", within_s=BOUND_S)
    assert outside.read_bytes() == JPEG
    assert (outside.stat().st_ino, outside.stat().st_nlink) == (before.st_ino, 1)


FAILURES: list[tuple[str, type[CameraServiceError]]] = [
    ("ENOSPC", StorageFull),
    ("EDQUOT", StorageFull),
    ("EFBIG", StorageFull),
    ("EIO", StorageUnavailable),
]


@pytest.mark.parametrize(("name", "kind"), FAILURES, ids=str)
async def test_a_disk_that_does_not_take_it_is_told_as_what_it_is(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str, kind: type[CameraServiceError]
) -> None:
    number = getattr(errno, name)

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    stage.block.write_still([JPEG])
    shot = await stage.place()
    with monkeypatch.context() as patch:
        patch.setattr("camsvc.storage.copying.os.fsync", fail)
        with pytest.raises(kind, match="a picture of 9 bytes") as caught:
            await shot.take(captured(described(JPEG)), "JPEG", 0)
    assert type(caught.value) is kind
    shot.discard()
    await stage.until_left()


async def test_a_caller_that_leaves_while_its_file_is_made_leaves_none(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, really = threading.Event(), Held.create

    def slow(folder: Held, name: str) -> Any:
        file = really(folder, name)
        assert release.wait(BOUND_S)
        return file

    monkeypatch.setattr(Held, "create", slow)
    await stage.archive.disk.require()
    placing = asyncio.create_task(stage.place())

    async def made() -> bool:
        return stage.folder.files() == ["staging/a.1"]

    await until(made, "it is being made", within_s=BOUND_S)
    placing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await placing
    release.set()
    await stage.until_left()
