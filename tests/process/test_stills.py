"""Stills of the simulated camera, from the service's side of its worker."""

import asyncio
import io
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base

from camsvc.ipc import messages as m
from camsvc.ipc.observer import WorkerObserver
from camsvc.model.errors import (
    DriverError,
    InvalidRequest,
    WorkerTimeout,
)
from camsvc.model.options import Launch
from camsvc.model.registry import BUILTIN
from camsvc.model.values import ControlValue, LiveVariant, Shot
from camsvc.worker_pool.process import WorkerProcess
from tests.support.settings import resolved
from tests.support.stills import files_of
from tests.support.waiting import until

CALL_S = 60.0
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


async def take(worker: WorkerProcess, shot: Shot | None = None, *, comment: str = "") -> m.Captured:
    return await worker.call(m.Capture(shot or Shot(), comment), CALL_S)


async def value_of(worker: WorkerProcess, name: str) -> ControlValue | None:
    answer = await worker.call(m.ListControls(), CALL_S)
    return next(control.value for control in answer.controls if control.name == name)


def fault(on: str, kind: str = "error", **more: object) -> list[dict[str, object]]:
    return [{"on": on, "kind": kind, **more}]


# Prepared.


async def test_what_can_be_done_before_the_trigger_is(camera: OpenCamera) -> None:
    worker = await camera(prepare_duration_s=1.0)
    started = time.monotonic()
    await worker.call(m.Prepare(Shot()), CALL_S)
    assert time.monotonic() - started >= 1.0
    prepared = await take(worker)
    assert prepared.driver_s < 1.0, "the pause is not in it"
    asked_ns = time.time_ns()
    unprepared = await take(worker)
    assert unprepared.driver_s >= 1.0
    assert unprepared.image.acquisition_time_ns >= asked_ns + 1e9, "the trigger's time"


@pytest.mark.parametrize("on", ["prepare", "capture"])
async def test_a_failure_puts_the_controls_back(camera: OpenCamera, on: str) -> None:
    worker = await camera(faults=fault(on))
    with pytest.raises(DriverError, match=f"at {on} call 1"):
        await worker.call(m.Prepare(WITH_GAIN), CALL_S)
        await take(worker, WITH_GAIN)
    assert await value_of(worker, "gain") == 1.0
    answer = await take(worker, WITH_GAIN)
    assert answer.image.controls["gain"] == 3.0


async def test_a_shot_that_cannot_be_is_refused_before_its_trigger(camera: OpenCamera) -> None:
    worker = await camera()
    with pytest.raises(InvalidRequest, match="99"):
        await worker.call(m.Prepare(Shot(controls={"gain": 99.0})), CALL_S)
    assert await value_of(worker, "gain") == 1.0


async def test_another_shot_is_not_the_one_that_was_prepared(camera: OpenCamera) -> None:
    worker = await camera()
    await worker.call(m.Prepare(WITH_GAIN), CALL_S)
    other = Shot(controls={"exposure_duration_us": 500})
    answer = await take(worker, other)
    assert answer.image.controls["gain"] == 1.0
    assert answer.image.controls["exposure_duration_us"] == 500
    assert await value_of(worker, "exposure_duration_us") == 10_000


async def test_a_camera_that_does_not_put_back_is_closed_all_the_same(camera: OpenCamera) -> None:
    worker = await camera(faults=fault("set_controls", at=2))
    await worker.call(m.Prepare(WITH_GAIN), CALL_S)
    with pytest.raises(DriverError, match="at set_controls call 2"):
        await worker.call(m.Close(), CALL_S)
    with pytest.raises(DriverError, match="not open"):
        await worker.call(m.ListControls(), CALL_S)


@pytest.mark.parametrize("both", [True, False])
async def test_live_view_rests_until_the_trigger(camera: OpenCamera, both: bool) -> None:
    worker = await camera(fps=100.0, capture_during_live_view=both)
    live = Observer(worker)
    worker.send(m.SetLive([LiveVariant(1)]))
    await live.flowing(3)
    await worker.call(m.Prepare(Shot()), CALL_S)
    at_rest = len(live.frames)
    worker.send(m.SetLive([LiveVariant(1), LiveVariant(2, quality_percent=50)]))
    await asyncio.sleep(0.2)  # twenty frames long: that none comes is what is tested
    assert len(live.frames) == at_rest
    await take(worker)
    await live.flowing(at_rest + 3)
    assert len(live.frames[-1].images) == 2, "and a viewer that came meanwhile sees them too"


# Progress.


async def test_progress_is_reported_of_a_still_that_takes_long(camera: OpenCamera) -> None:
    worker = await camera(capture_duration_s=0.5, reports_progress=True)
    reported = Observer(worker).percents
    await take(worker)
    assert reported == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    await take(worker)
    assert reported[11:] == reported[:11]


@pytest.mark.parametrize(
    "settings", [{"capture_duration_s": 0.5}, {"reports_progress": True}], ids=["off", "short"]
)
async def test_otherwise_it_is_not(camera: OpenCamera, settings: dict[str, object]) -> None:
    worker = await camera(**settings)
    reported = Observer(worker).percents
    await take(worker)
    assert reported == [0], "it has begun"


async def test_progress_that_nobody_waits_for_is_not_reported(camera: OpenCamera) -> None:
    worker = await camera(capture_duration_s=0.5, reports_progress=True)
    reported = Observer(worker).percents
    with pytest.raises(WorkerTimeout):
        await worker.call(m.Capture(Shot()), 0.12)
    heard = len(reported)

    async def taken() -> bool:
        return worker.memory.still_bytes > 0

    await until(taken, "the end of the capture")
    assert len(reported) == heard < 5


# Counted.


async def test_the_shutter_is_counted_for_stills_alone_and_over_restarts(
    camera: OpenCamera,
) -> None:
    settings = {"fps": 100.0, "faults": fault("capture", "stale", at=2)}
    worker = await camera(**settings)
    live = Observer(worker)
    worker.send(m.SetLive([LiveVariant(1)]))
    await live.flowing(1)
    first = await take(worker)
    assert first.image.controls["shutter_actuations"] == 1
    with pytest.raises(DriverError, match="stale"):
        await take(worker)
    assert await value_of(worker, "shutter_actuations") == 1
    worker.kill("to see what is kept")
    await worker.wait_ended()
    again = await camera(**settings, state=worker.driver_state)
    answer = await take(again)
    assert answer.image.controls["shutter_actuations"] == 2


# Written.


async def test_the_file_says_what_was_done(camera: OpenCamera) -> None:
    worker = await camera()
    shot = Shot(controls={"focus_distance_diopters": 2.0, "gain": 3.0})
    labels = {"Ort": "Gewächshaus 3"}
    answer = await take(worker, shot, comment=json.dumps(labels))
    with Image.open(io.BytesIO(files_of(worker, answer)[0])) as image:
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


async def test_a_still_that_nobody_waits_for_does_no_harm(camera: OpenCamera) -> None:
    """What it was written to is the next one's, too."""
    worker = await camera(capture_duration_s=0.2, fps=100.0)
    with pytest.raises(WorkerTimeout):
        await worker.call(m.Capture(Shot()), 0.1)
    live = Observer(worker)
    answer = await take(worker, Shot(format="PNG"))
    with Image.open(io.BytesIO(files_of(worker, answer)[0])) as image:
        image.load()
    worker.send(m.SetLive([LiveVariant(1)]))
    await live.flowing(3)
    assert not live.lost
