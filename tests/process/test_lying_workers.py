"""A worker that says what is not so, or lays hands on the files: it harms its own capture alone."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from camapi.v1 import camera_pb2 as pb

from tests.support.history import QUICK, deleted, download, listed, refusal, sha256
from tests.support.lies import LIES
from tests.support.scenes import camera
from tests.support.service import Service
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPLACED = "was replaced while it was written"
ANNOUNCED = "the worker announced"

WORDS = {
    "more_bytes": rf"{ANNOUNCED} 5\d\d\d bytes and wrote \d\d\d$",
    "fewer_bytes": rf"{ANNOUNCED} 10 bytes and wrote \d\d\d$",
    "all_the_bytes_there_may_be": rf"{ANNOUNCED} 1073741824 bytes and wrote \d\d\d$",
    "memory_of_holes": rf"{ANNOUNCED} 1073741824 bytes and wrote \d+$",
    "memory_cut_off": rf"{ANNOUNCED} \d\d\d bytes and wrote 0$",
    "another_type": f"{ANNOUNCED} a picture of the type 'image/png'",
    "a_type_that_leads_out": f"{ANNOUNCED} a picture of the type '[./]+etc",
    "no_picture": "and wrote an HTML page",
    "taken_tomorrow": "s ahead of now; allowed: from 3600 s before now",
    "taken_last_year": "s before now; allowed: from 3600 s before now",
    "taken_a_minute_ago": "s before it was asked for",
    "link_to_the_journal": REPLACED,
    "link_to_anothers_picture": REPLACED,
    "hard_link_to_anothers_picture": REPLACED,
    "hard_link_to_the_journal": REPLACED,
    "fifo": REPLACED,
    "device": REPLACED,
    "folder": REPLACED,
    "file_of_its_own": REPLACED,
    "a_second_name_for_the_file": REPLACED,
}


class Scene:
    """A service with a camera that lies when it is told to, and an honest one."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.data = service.data_dir
        self._folder = folder
        self.honest = pb.Capture()

    async def begin(self) -> None:
        self.honest = (await self.service.capture("honest")).capture
        await self.service.capture("liar")
        self._inode = (self.data / "journal.sqlite3").stat().st_ino

    def tell(self, deed: str) -> None:
        (victim,) = self.data.glob(f"captures/*/{self.honest.capture_id}.*")
        (self._folder / "deed").write_text(f"{deed}\n{victim.relative_to(self.data)}")

    async def fails(self, deed: str) -> str:
        """Have the worker do a deed; return what its capture's client is told."""
        self.tell(deed)
        error = await refusal(self.service.capture("liar"))
        assert str(self.data) not in error.message
        failed = (await listed(self.service, camera="liar"))[0]
        assert failed.state == pb.Capture.STATE_FAILED
        assert failed.capture_id == error.metadata["capture_id"]
        return f"{error.reason} {error.message}"

    async def worker_pid(self) -> int:
        return (await self.service.camera("liar")).camera.worker_pid

    async def check(self) -> None:
        """Nobody else was harmed, nothing of it is left, and the next picture is well."""
        whole = await download(self.service, self.honest.capture_id)
        assert sha256(whole.data) == whole.sha256 == self.honest.image.sha256
        journal = (self.data / "journal.sqlite3").stat()
        assert (journal.st_ino, journal.st_nlink) == (self._inode, 1)

        async def nothing_left() -> bool:
            return not os.listdir(self.data / "staging")

        (self.data / "staging" / "second").unlink(missing_ok=True)
        await until(nothing_left, "nothing is left in staging")
        again = (await self.service.capture("liar")).capture
        assert (await download(self.service, again.capture_id)).sha256 == again.image.sha256


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """Give a service that all tests of a process share."""
    folder, told = tmp_path_factory.mktemp("service"), tmp_path_factory.mktemp("told")
    liar = camera(
        "liar",
        driver="tests.support.lies:Liar",
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        options={"folder": str(told), "data": str(folder / "data")},
        attempts=1,
        sandbox="off",  # which would refuse half of the deeds
    )
    async with Service(folder, liar + camera("honest", **QUICK)) as service:
        scene = Scene(service, told)
        await scene.begin()
        yield scene


@pytest.mark.parametrize("deed", WORDS)
async def test_its_capture_fails_its_process_ends_and_nobody_else_is_harmed(
    scene: Scene, deed: str
) -> None:
    if deed == "device" and os.geteuid() != 0:
        pytest.skip("only root makes devices")
    before = await scene.worker_pid()
    told = await scene.fails(deed)
    assert told.startswith("CAMERA_UNAVAILABLE camera 'liar' failed in 1 of 1 attempts; the last: ")
    assert re.search(WORDS[deed], told)
    await scene.check()
    assert await scene.worker_pid() != before


async def test_a_link_in_the_place_of_a_folder_leads_nowhere(scene: Scene) -> None:
    captures = sorted((scene.data / "captures").rglob("*"))
    assert (await scene.fails("link_in_the_place_of_staging")).startswith("STORAGE_UNAVAILABLE")
    assert sorted((scene.data / "captures").rglob("*")) == captures
    assert not (scene.data / "staging").is_symlink()
    await scene.check()
    shutil.rmtree(scene.data / "moved")
    assert [e["folder"] for e in scene.service.log() if "link in the place" in e["event"]] == [
        "staging"
    ]


def fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def empty_folder(path: Path, _: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("put", [fifo, link, empty_folder])
async def test_what_is_put_in_the_place_of_a_kept_picture_is_neither_served_nor_followed(
    scene: Scene, put: Callable[[Path, Path], None]
) -> None:
    """Nor waited for: as many readers as there are threads keep no other from reading."""
    lost = (await scene.service.capture("honest")).capture
    (path,) = scene.data.glob(f"captures/*/{lost.capture_id}.*")
    path.unlink()
    put(path, scene.data / "journal.sqlite3")
    errors = await asyncio.gather(
        *(refusal(download(scene.service, lost.capture_id)) for _ in range(20))
    )
    assert {error.reason for error in errors} == {"CAPTURE_NOT_FOUND"}
    await scene.check()
    await deleted(scene.service, lost.capture_id)
    assert not os.path.lexists(path)  # noqa: ASYNC240 - it is not waited for
    await scene.check()


async def test_a_kept_picture_that_has_another_size_is_not_served(scene: Scene) -> None:
    changed = (await scene.service.capture("honest")).capture
    (path,) = scene.data.glob(f"captures/*/{changed.capture_id}.*")
    os.truncate(path, 100)
    error = await refusal(download(scene.service, changed.capture_id))
    assert error.reason == "STORAGE_UNAVAILABLE"
    assert f"has 100 bytes, and had {changed.image.size_bytes} when it was kept" in error.message
    await deleted(scene.service, changed.capture_id)


async def test_what_it_leaves_for_the_next_start_is_swept(tmp_path: Path) -> None:
    """A start waits for no FIFO, and follows no link."""
    async with Service(tmp_path, camera("honest", **QUICK)) as service:
        kept = (await service.capture("honest")).capture
        (path,) = service.data_dir.glob(f"captures/*/{kept.capture_id}.*")
    staging = service.data_dir / "staging"
    os.mkfifo(staging / "x.1.json")
    (staging / "y.1.json").symlink_to(service.data_dir / "journal.sqlite3")
    (staging / "z.1").symlink_to(path)
    os.mkfifo(path.with_name("fifo.jpg"))
    path.with_name("link.jpg").symlink_to(service.data_dir / "journal.sqlite3")
    async with Service(tmp_path, camera("honest", **QUICK)) as service:
        assert not os.listdir(staging)
        assert [capture.capture_id for capture in await listed(service)] == [kept.capture_id]
        assert (await download(service, kept.capture_id)).sha256 == kept.image.sha256


async def test_each_lie_is_told() -> None:
    assert {*WORDS, "link_in_the_place_of_staging"} == set(LIES)
