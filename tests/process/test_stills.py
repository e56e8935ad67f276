"""Stills of the simulated camera, from the service's side of its worker."""

import asyncio
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base

from camsvc.ipc import messages as m
from camsvc.ipc.observer import WorkerObserver
from camsvc.model.errors import (
    DriverError,
    InvalidRequest,
    StorageFull,
    StorageUnavailable,
    WorkerTimeout,
)
from camsvc.model.options import Launch
from camsvc.model.registry import BUILTIN
from camsvc.model.values import ControlValue, LiveVariant, Shot
from camsvc.worker_pool.process import WorkerProcess
from tests.support.settings import resolved
from tests.support.waiting import until

CALL_S = 60.0
ANY_SIZE = 1 << 30
WITH_GAIN = Shot(controls={"gain": 3.0})


class Observer(WorkerObserver):
    """Keeps what it hears; takes each live frame."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self.frames: list[m.SharedFrame] = []
        self.lost: list[m.Failed] = []
        self.percents: list[int] = []
        worker.attach("sim0", self)

    def on_live_frame(self, frame: m.SharedFrame) -> None:
        self.frames.append(frame)
        self._worker.take_live(frame.images)

    def on_live_lost(self, failure: m.Failed) -> None:
        self.lost.append(failure)

    def on_progress(self, percent: int) -> None:
        self.percents.append(percent)

    async def flowing(self, count: int) -> None:
        async def seen() -> bool:
            return len(self.frames) >= count

        await until(seen, f"{count} frames")


OpenCamera = Callable[..., Awaitable[WorkerProcess]]


@pytest.fixture
async def camera() -> AsyncIterator[OpenCamera]:
    """Give a function that opens a simulated camera with settings, in a worker of its own."""
    workers = []

    async def start(
        *, python: str = sys.executable, state: bytes = b"", **settings: object
    ) -> WorkerProcess:
        async with asyncio.timeout(CALL_S):
            worker = await WorkerProcess.start(Launch(BUILTIN["simulated"].driver, python))
        workers.append(worker)
        given = {"width_px": 640, "height_px": 480, "capture_duration_s": 0.0, **settings}
        await worker.call(m.Open(resolved("simulated", **given), {}, state), CALL_S)
        return worker

    yield start
    for worker in workers:
        worker.kill("the test is over")
        await worker.wait_ended()


async def take(
    worker: WorkerProcess,
    path: Path,
    shot: Shot | None = None,
    *,
    inline_bytes: int = 0,
    comment: str = "",
) -> m.Captured:
    command = m.Capture(shot or Shot(), str(path), inline_bytes, comment)
    return await worker.call(command, CALL_S)


async def value_of(worker: WorkerProcess, name: str) -> ControlValue | None:
    answer = await worker.call(m.ListControls(), CALL_S)
    return next(control.value for control in answer.controls if control.name == name)


def fault(on: str, kind: str = "error", **more: object) -> list[dict[str, object]]:
    return [{"on": on, "kind": kind, **more}]


# Prepared.


async def test_what_can_be_done_before_the_trigger_is(camera: OpenCamera, tmp_path: Path) -> None:
    worker = await camera(prepare_duration_s=1.0)
    started = time.monotonic()
    await worker.call(m.Prepare(Shot(), str(tmp_path / "prepared")), CALL_S)
    assert time.monotonic() - started >= 1.0
    prepared = await take(worker, tmp_path / "prepared")
    assert prepared.driver_s < 1.0, "the pause is not in it"
    asked_ns = time.time_ns()
    unprepared = await take(worker, tmp_path / "unprepared")
    assert unprepared.driver_s >= 1.0
    assert unprepared.image.acquisition_time_ns >= asked_ns + 1e9, "the trigger's time"


@pytest.mark.parametrize("on", ["prepare", "capture"])
async def test_a_failure_puts_the_controls_back(
    camera: OpenCamera, tmp_path: Path, on: str
) -> None:
    worker = await camera(faults=fault(on))
    with pytest.raises(DriverError, match=f"at {on} call 1"):
        await worker.call(m.Prepare(WITH_GAIN, str(tmp_path / "picture")), CALL_S)
        await take(worker, tmp_path / "picture", WITH_GAIN)
    assert await value_of(worker, "gain") == 1.0
    assert os.listdir(tmp_path) == []
    answer = await take(worker, tmp_path / "picture", WITH_GAIN)
    assert answer.image.controls["gain"] == 3.0


async def test_a_shot_that_cannot_be_is_refused_before_its_trigger(
    camera: OpenCamera, tmp_path: Path
) -> None:
    worker = await camera()
    with pytest.raises(InvalidRequest, match="99"):
        await worker.call(
            m.Prepare(Shot(controls={"gain": 99.0}), str(tmp_path / "picture")), CALL_S
        )
    assert await value_of(worker, "gain") == 1.0


async def test_another_shot_is_not_the_one_that_was_prepared(
    camera: OpenCamera, tmp_path: Path
) -> None:
    worker = await camera()
    await worker.call(m.Prepare(WITH_GAIN, str(tmp_path / "picture")), CALL_S)
    other = Shot(controls={"exposure_duration_us": 500})
    answer = await take(worker, tmp_path / "picture", other)
    assert answer.image.controls["gain"] == 1.0
    assert answer.image.controls["exposure_duration_us"] == 500
    assert await value_of(worker, "exposure_duration_us") == 10_000


async def test_its_file_is_there_from_its_preparation_until_that_is_undone(
    camera: OpenCamera, tmp_path: Path
) -> None:
    """Making one may take a while on a busy disk, which a group's trigger must not wait for."""
    worker = await camera()
    prepare = m.Prepare(Shot(), str(tmp_path / "picture"))
    await worker.call(prepare, CALL_S)
    assert os.listdir(tmp_path) == ["picture"]
    worker.send(m.Unprepare())
    await worker.call(m.ListControls(), CALL_S)
    assert os.listdir(tmp_path) == []
    await worker.call(prepare, CALL_S)
    await take(worker, tmp_path / "another place")
    assert os.listdir(tmp_path) == ["another place"]


async def test_a_camera_that_does_not_put_back_is_closed_all_the_same(
    camera: OpenCamera, tmp_path: Path
) -> None:
    worker = await camera(faults=fault("set_controls", at=2))
    await worker.call(m.Prepare(WITH_GAIN, str(tmp_path / "picture")), CALL_S)
    with pytest.raises(DriverError, match="at set_controls call 2"):
        await worker.call(m.Close(), CALL_S)
    with pytest.raises(DriverError, match="not open"):
        await worker.call(m.ListControls(), CALL_S)


@pytest.mark.parametrize("both", [True, False])
async def test_live_view_rests_until_the_trigger(
    camera: OpenCamera, tmp_path: Path, both: bool
) -> None:
    worker = await camera(fps=100.0, capture_during_live_view=both)
    live = Observer(worker)
    worker.send(m.SetLive([LiveVariant(1)]))
    await live.flowing(3)
    await worker.call(m.Prepare(Shot(), str(tmp_path / "picture")), CALL_S)
    at_rest = len(live.frames)
    worker.send(m.SetLive([LiveVariant(1), LiveVariant(2, quality_percent=50)]))
    await asyncio.sleep(0.2)  # twenty frames long: that none comes is what is tested
    assert len(live.frames) == at_rest
    await take(worker, tmp_path / "picture")
    await live.flowing(at_rest + 3)
    assert len(live.frames[-1].images) == 2, "and a viewer that came meanwhile sees them too"


# Progress.


async def test_progress_is_reported_of_a_still_that_takes_long(
    camera: OpenCamera, tmp_path: Path
) -> None:
    worker = await camera(capture_duration_s=0.5, reports_progress=True)
    reported = Observer(worker).percents
    await take(worker, tmp_path / "picture")
    assert reported == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    await take(worker, tmp_path / "next")
    assert reported[11:] == reported[:11]


@pytest.mark.parametrize(
    "settings", [{"capture_duration_s": 0.5}, {"reports_progress": True}], ids=["off", "short"]
)
async def test_otherwise_it_is_not(
    camera: OpenCamera, tmp_path: Path, settings: dict[str, object]
) -> None:
    worker = await camera(**settings)
    reported = Observer(worker).percents
    await take(worker, tmp_path / "picture")
    assert reported == [0], "it has begun"


async def test_progress_that_nobody_waits_for_is_not_reported(
    camera: OpenCamera, tmp_path: Path
) -> None:
    worker = await camera(capture_duration_s=0.5, reports_progress=True)
    reported = Observer(worker).percents
    with pytest.raises(WorkerTimeout):
        await worker.call(m.Capture(Shot(), str(tmp_path / "picture"), 0), 0.12)
    heard = len(reported)

    async def written() -> bool:
        return (tmp_path / "picture").exists()

    await until(written, "the end of the capture")
    assert len(reported) == heard < 5


# Counted.


async def test_the_shutter_is_counted_for_stills_alone_and_over_restarts(
    camera: OpenCamera, tmp_path: Path
) -> None:
    settings = {"fps": 100.0, "faults": fault("capture", "stale", at=2)}
    worker = await camera(**settings)
    live = Observer(worker)
    worker.send(m.SetLive([LiveVariant(1)]))
    await live.flowing(1)
    first = await take(worker, tmp_path / "1")
    assert first.image.controls["shutter_actuations"] == 1
    with pytest.raises(DriverError, match="stale"):
        await take(worker, tmp_path / "2")
    assert await value_of(worker, "shutter_actuations") == 1
    worker.kill("to see what is kept")
    await worker.wait_ended()
    again = await camera(**settings, state=worker.driver_state)
    answer = await take(again, tmp_path / "3")
    assert answer.image.controls["shutter_actuations"] == 2


# Written.


async def test_the_file_says_what_was_done(camera: OpenCamera, tmp_path: Path) -> None:
    worker = await camera()
    shot = Shot(controls={"focus_distance_diopters": 2.0, "gain": 3.0})
    labels = {"Ort": "Gewächshaus 3"}
    answer = await take(worker, tmp_path / "picture", shot, comment=json.dumps(labels))
    with Image.open(io.BytesIO((tmp_path / "picture").read_bytes())) as image:
        found = image.getexif()
    assert found[Base.Make] == "camsvc"
    assert found[Base.Model] == "Simulated camera"
    details = found.get_ifd(IFD.Exif)
    assert details[Base.ExposureTime] == 0.01
    assert details[Base.SubjectDistance] == 0.5
    assert json.loads(details[Base.UserComment][8:].decode("utf-16-be")) == {
        "labels": labels,
        "gain": 3.0,
    }
    micros = answer.image.acquisition_time_ns // 1000
    assert int(details[Base.SubsecTimeOriginal]) == micros % 10**6


async def test_a_still_that_nobody_waits_for_does_no_harm(
    camera: OpenCamera, tmp_path: Path
) -> None:
    """Without a slot there is none to give back, and none to take from live view."""
    worker = await camera(capture_duration_s=0.2, fps=100.0)
    with pytest.raises(WorkerTimeout):
        await worker.call(m.Capture(Shot(), str(tmp_path / "1"), 0), 0.1)
    live = Observer(worker)
    answer = await take(worker, tmp_path / "2", inline_bytes=ANY_SIZE)
    assert worker.take_image(answer.image) == (tmp_path / "2").read_bytes()
    worker.send(m.SetLive([LiveVariant(1)]))

    await live.flowing(3)
    assert not live.lost


def in_a_small_world(folder: Path, tmp_path: Path, *commands: str) -> str:
    """Return an interpreter that does `commands` first, as root of its own mounts."""
    shell, unshare = shutil.which("sh"), shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-rm", "true"], check=False).returncode:
        pytest.skip("this system gives users no mounts of their own")
    python = tmp_path / "python"
    steps = " && ".join([*commands, f'exec {sys.executable} "$@"'])
    python.write_text(f"#!{shell}\nfolder='{folder}'\n")
    with python.open("a") as script:
        script.write(f"exec unshare -rm {shell} -c 'folder='\"$folder\"'; {steps}' sh \"$@\"\n")
    python.chmod(0o755)
    return str(python)


async def refused(worker: WorkerProcess, folder: Path, inline_bytes: int = 0) -> Exception:
    """Capture into a folder that takes no picture, and look at what that leaves."""
    with pytest.raises((StorageFull, StorageUnavailable)) as caught:
        await take(worker, folder / "picture", inline_bytes=inline_bytes)
    assert str(folder) not in str(caught.value)
    seen_by_worker = f"/proc/{worker.pid}/root{folder}"
    assert os.listdir(seen_by_worker) == [], "nothing half-written is left"
    return caught.value


async def test_a_full_disk_is_reported_as_such(camera: OpenCamera, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    python = in_a_small_world(folder, tmp_path, "mount -t tmpfs -o size=16k tmpfs $folder")
    worker = await camera(python=python)
    error = await refused(worker, folder, ANY_SIZE)
    assert isinstance(error, StorageFull)
    assert "no room for a picture of " in str(error)
    # The camera is well, and the slot was given back.
    answer = await take(worker, tmp_path / "next", inline_bytes=ANY_SIZE)
    assert worker.take_image(answer.image) == (tmp_path / "next").read_bytes()


async def test_a_disk_that_may_not_be_written_is_not_a_full_one(
    camera: OpenCamera, tmp_path: Path
) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    python = in_a_small_world(folder, tmp_path, "mount -t tmpfs -o ro tmpfs $folder")
    error = await refused(await camera(python=python), folder)
    assert isinstance(error, StorageUnavailable)
    assert "EROFS" in str(error)


async def test_the_limit_for_a_files_size_is_a_full_disk_too(
    camera: OpenCamera, tmp_path: Path
) -> None:
    folder = tmp_path / "limited"
    folder.mkdir()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nulimit -f 16\nexec {sys.executable} "$@"\n')  # 8 KiB
    python.chmod(0o755)
    assert isinstance(await refused(await camera(python=str(python)), folder), StorageFull)
