"""The wall clock is set by a second or by years, under a service at work: only labels change."""

import asyncio
import itertools
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from google.protobuf.duration_pb2 import Duration

from tests.conftest import StartService
from tests.support import plugins
from tests.support.events import Event, EventReader, steps
from tests.support.history import PNG, QUICK, REFERENCE, download, listed, sha256
from tests.support.live import Watcher
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.timing import timing
from tests.support.waiting import until
from tests.support.wall_clock import WallClock

YEAR_S = 365.25 * 86_400
AHEAD_S = (1.0, 0.0, -1.0, 0.0, 3600.0, -3600.0, 10 * YEAR_S, 0.0, -10 * YEAR_S, 0.0)
"""What the clock is set to, one after the other."""
GAP_S = 0.25
RIGHT_S = 1.0
KEPT_DAYS = 30
RETENTION = f"[retention]\nmax_age_days = {KEPT_DAYS}\nmin_age_s = 0.0\n"


@pytest.fixture
def clock(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> WallClock:
    return WallClock(tmp_path_factory, tmp_path / "ahead")


class Viewer(Watcher):
    """Frames are in order by number; their labels need not be, when the clock is set."""

    def check(self) -> None:
        numbers = [frame.sequence for frame in self.frames]
        assert numbers == sorted(set(numbers))


def acquired_s(frame: pb.LiveFrame) -> float:
    return frame.acquisition_time.ToNanoseconds() / 1e9


def age_s(frame: pb.LiveFrame) -> float:
    return frame.age.ToNanoseconds() / 1e9


async def one_frame(service: Service, max_age_s: float | None = None) -> pb.LiveFrame:
    request = api.GetFrameRequest(camera="sim0")
    if max_age_s is not None:
        request.max_age.CopyFrom(Duration(nanos=int(max_age_s * 1e9)))
    response: api.GetFrameResponse = await service.stub.GetFrame(request, timeout=CALL_S)
    return response.frame


async def steps_logged(service: Service, count: int) -> list[float]:
    async with asyncio.timeout(CALL_S):
        await service.logged("the wall clock was set", count)
    logged = [e for e in service.log() if e["event"] == "the wall clock was set"]
    return [float(entry["by_s"]) for entry in logged]


@pytest.mark.timed
async def test_live_view_goes_on_whatever_the_clock_is_set_to(
    start_service: StartService, clock: WallClock
) -> None:
    service = await start_service(camera(), entering=clock.entering)
    async with Viewer(service, heartbeat_s=60) as viewer:
        await viewer.until_frames(10)
        for count, ahead_s in enumerate(AHEAD_S, start=1):
            with timing() as took:
                seen = len(viewer.messages) - 1
                clock.set(ahead_s)
                await viewer.until_frames(10)
                since = viewer.messages[seen:]
                newest = await one_frame(service)
                kept = await one_frame(service, max_age_s=0.5)
            gap_s = max(after.at - before.at for before, after in itertools.pairwise(since))
            assert gap_s - took.waited_s <= GAP_S, f"{ahead_s}: {gap_s:.3f} s, {took}"
            for frame in [since[-1].frame, newest, kept]:
                assert frame is not None
                assert 0 <= age_s(frame) <= RIGHT_S + took.s
                assert abs(clock.now_s() - acquired_s(frame)) <= RIGHT_S + took.s
            assert newest.sequence <= kept.sequence
            assert len(await steps_logged(service, count)) == count, "once"
        assert viewer.changes[-1] == "LIVE"
        assert not {"RECOVERING", "PAUSED"} & set(viewer.changes)
    found = (await service.camera()).camera.statistics
    assert not found.recoveries


async def test_stills_during_which_the_clock_is_set_are_neither_old_nor_repeated(
    start_service: StartService, clock: WallClock
) -> None:
    """And events come in their order, each once, and what was kept can be had."""
    clocked = camera("sim0", driver="plugins:ClockedCamera", env=plugins.ENV)
    service = await start_service(clocked, entering=clock.entering)
    captures: list[pb.Capture] = []
    async with EventReader(service) as reader:
        for ahead_s in AHEAD_S:
            still = asyncio.create_task(service.capture())
            begun = sum(event.type == Event.TYPE_STARTED for event in reader.events) + 1
            await reader.until_type(Event.TYPE_STARTED, begun)  # the shutter is open
            clock.set(ahead_s)
            captures.append((await still).capture)
            label_s = captures[-1].acquisition_time.ToNanoseconds() / 1e9
            assert abs(clock.now_s() - label_s) < CALL_S
        await reader.until_ended(len(AHEAD_S))
    assert steps(reader.events) == ["STARTED", "SUCCEEDED"] * len(AHEAD_S), "at the first attempt"
    assert reader.numbers == list(range(reader.numbers[0], reader.numbers[-1] + 1))
    for capture in captures:
        loaded = await download(service, capture.capture_id)
        assert sha256(loaded.data) == loaded.sha256


async def test_a_download_and_the_history_outlast_the_clock(
    start_service: StartService, clock: WallClock
) -> None:
    service = await start_service(
        camera(width_px=1600, height_px=1000, **QUICK), entering=clock.entering
    )
    ids = [(await service.capture(delivery=REFERENCE, image=PNG)).capture.capture_id]
    request = api.DownloadImageRequest(capture_id=ids[0])
    messages = []
    async for message in service.stub.DownloadImage(request, timeout=CALL_S):
        messages.append(message)
        clock.set(AHEAD_S[len(messages) % len(AHEAD_S)])
    data = b"".join(message.data for message in messages)
    assert sha256(data) == messages[0].sha256
    for ahead_s in AHEAD_S:
        clock.set(ahead_s)
        ids.append((await service.capture(delivery=REFERENCE)).capture.capture_id)
        assert {capture.capture_id for capture in await listed(service)} == set(ids)


async def test_no_picture_is_deleted_because_the_clock_is_wrong(
    tmp_path: Path, clock: WallClock
) -> None:
    """Also where the service starts while it is: what goes is what came first, as too much.

    That it goes shows that retention has looked.
    """
    cameras = camera(**QUICK)
    async with Service(tmp_path, cameras + RETENTION, entering=clock.entering) as service:
        ids = [(await service.capture()).capture.capture_id for _ in range(4)]
        sizes = [capture.image.size_bytes for capture in await listed(service)]
    limited = f"{cameras}{RETENTION}max_bytes = {3 * max(sizes)}\n"
    for run, ahead_s in enumerate((12 * YEAR_S, 12 * YEAR_S, -10 * YEAR_S, 0.0)):
        clock.set(ahead_s)
        log = tmp_path / f"{run}.log"
        async with Service(tmp_path, limited, entering=clock.entering, log_path=log) as service:
            await until(partial(trimmed, service, ids), f"too much, {ahead_s:.0f} s ahead")
            ids.append((await service.capture()).capture.capture_id)
            clock.set(0.0)
            if ahead_s:
                await steps_logged(service, 1)
            ids.append((await service.capture()).capture.capture_id)
            await until(partial(trimmed, service, ids), f"too much, after {ahead_s:.0f} s ahead")


def test_the_system_says_whether_its_clock_is_certain(clock: WallClock) -> None:
    program = "from camsvc.system import posix; print(posix.clock_is_synchronized())"
    for ahead_s, said in ((0.0, b"True\n"), (1.0, b"False\n")):
        clock.set(ahead_s)
        command = [*clock.entering, sys.executable, "-c", program]
        assert subprocess.run(command, check=True, capture_output=True).stdout == said


async def trimmed(service: Service, ids: list[str]) -> bool:
    left = {capture.capture_id for capture in await listed(service)}
    assert left >= set(ids[-2:]), f"not the first: {[ids.index(each) for each in left]}"
    return left <= set(ids[-3:])


@pytest.mark.parametrize("wrong_s", [7.0e9, 2.5e11, 3600.0, 2.0, -1.7e9, -2.0e9])
async def test_a_frame_of_a_time_that_cannot_be_is_refused_and_nobody_else_notices(
    start_service: StartService, wrong_s: float
) -> None:
    settings = camera(
        "sim0", driver="plugins:WrongTimesCamera", env=plugins.ENV, options={"wrong_s": wrong_s}
    )
    service = await start_service(settings)
    async with Watcher(service) as viewer:
        await viewer.until_frames(30)
        assert "RECOVERING" not in viewer.changes
        stills = [(await service.capture()).capture for _ in range(3)]
        await viewer.until_frames(30)
    assert [still.attempts for still in stills] == [1, 2, 1], "the wrong one is refused"
    for still in stills:
        assert abs(still.acquisition_time.ToNanoseconds() / 1e9 - time.time()) < CALL_S
    listing = await service.stub.ListCameras(api.ListCamerasRequest(), timeout=CALL_S)
    assert [found.camera for found in listing.cameras] == ["sim0"]
