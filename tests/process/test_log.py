"""Whoever reads the log, or does not, the cameras are served."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import error_info

from tests.conftest import StartService
from tests.process.test_metrics import scrape
from tests.support import plugins
from tests.support.endurance import FULL
from tests.support.log_pipe import LogPipe
from tests.support.scenes import camera, fault
from tests.support.service import CALL_S, Service
from tests.support.smalldisk import SmallDisk
from tests.support.timing import Timings
from tests.support.waiting import until

SCENE = (
    camera()
    + camera("talks", driver="plugins:TalkativeCamera", env=plugins.ENV)
    + camera("held", capture_duration_s=1000, attempt_timeout_s=2000)
)
LENGTH_S = 60.0 if FULL else 5.0
ROOM_BYTES = 256 * 1024
SLOWER = 1.5
"""Of two services that do the same, one may be so much slower: the disk is everybody's."""

NOISE_S = 0.005 if FULL else 0.02
"""In a few seconds, one of a hundred calls is one that something else has held up."""

Broken = Callable[[], object]
"""Does to a log what the test is about."""


@contextlib.asynccontextmanager
async def stopped_reader(folder: Path) -> AsyncIterator[tuple[Service, Broken, Broken]]:
    """Give a service, what stops its log's reader, and what has it go on."""
    async with piped(folder) as (pipe, service):
        yield service, pipe.stop, pipe.go_on


@contextlib.asynccontextmanager
async def gone_reader(folder: Path) -> AsyncIterator[tuple[Service, Broken, None]]:
    """Give a service, and what ends its log's reader: nothing brings that back."""
    async with piped(folder) as (pipe, service):
        pipe.close_write_end()
        yield service, pipe.leave, None


@contextlib.asynccontextmanager
async def piped(folder: Path) -> AsyncIterator[tuple[LogPipe, Service]]:
    log_path = folder / "service.log"
    async with (
        LogPipe(log_path) as pipe,
        Service(folder, SCENE, log_path=log_path, stderr=pipe.write_end) as service,
    ):
        await asyncio.wait_for(service.logged("metrics served"), CALL_S)
        yield pipe, service


@contextlib.asynccontextmanager
async def full_disk(folder: Path) -> AsyncIterator[tuple[Service, Broken, Broken]]:
    """Give a service, what fills the disk of its log, and what makes room there."""
    async with SmallDisk(folder / "disk", f"size={ROOM_BYTES}") as disk:
        log_path = disk.path / "service.log"
        async with Service(folder, SCENE, log_path=log_path) as service:
            yield service, disk.fill, disk.make_room


Scene = Callable[
    [Path], contextlib.AbstractAsyncContextManager[tuple[Service, Broken, Broken | None]]
]
SCENES = [stopped_reader, gone_reader, full_disk]


async def talk(service: Service) -> None:
    """Have some hundred lines logged, again and again."""
    while True:
        await service.capture("talks")


async def lines_lost(service: Service) -> float:
    samples = await scrape(service)
    return samples["camsvc_log_lines_lost_total", frozenset()]


async def listed(service: Service) -> None:
    await service.stub.ListCameras(api.ListCamerasRequest(), timeout=CALL_S)


async def refused(service: Service) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.capture("held")
    assert error_info(caught.value).reason == "CAMERA_BUSY"


@pytest.mark.timed
@pytest.mark.parametrize("scene", SCENES)
async def test_a_log_that_nobody_takes_delays_nothing(
    tmp_path: Path,
    start_service: StartService,
    scene: Scene,
) -> None:
    """Compared with a service whose log is taken, in the same moments."""
    calm = await start_service(SCENE)
    async with scene(tmp_path) as (service, break_log, mend_log):
        held = [asyncio.ensure_future(each.capture("held")) for each in (service, calm)]
        for each in (service, calm):
            await each.wait_for_state(pb.Camera.STATE_CAPTURING, "held")
        break_log()
        talking = [asyncio.create_task(talk(each)) for each in (service, calm)]

        async def losing() -> bool:
            return await lines_lost(service) > 0

        await until(losing, "lines are lost", within_s=CALL_S)
        times = {(each, call): Timings() for each in (service, calm) for call in (listed, refused)}
        ends = asyncio.get_running_loop().time() + LENGTH_S
        while asyncio.get_running_loop().time() < ends:
            for (each, call), timings in times.items():
                with timings.one(each.ps.pid):
                    await call(each)
        for task in talking:
            assert not task.done(), "its pictures are taken all the while"
            task.cancel()
        await asyncio.wait(talking)
        assert (await service.capture()).capture.capture_id
        await service.stub.ResetCamera(api.ResetCameraRequest(camera="sim0"), timeout=CALL_S)
        if mend_log is not None:
            mend_log()

            async def told() -> bool:
                await service.capture("talks")  # of whose lines a second has its number at most
                lost = [entry for entry in service.log() if entry["event"] == "log lines lost"]
                return bool(lost) and int(lost[0]["count"]) > 0

            await until(told, "the lost lines are counted in the log", within_s=CALL_S)
        assert await lines_lost(calm) == 0
        for capture in held:
            capture.cancel()
        for call in (listed, refused):
            slowed, control = times[service, call], times[calm, call]
            print(f"{call.__name__}, log not taken: {slowed}; taken: {control}")
            slowed.assert_within(control.percentile_s(99) * SLOWER + NOISE_S, percent=99)


@pytest.mark.parametrize("scene", SCENES)
async def test_the_service_ends_though_nobody_takes_its_log(
    tmp_path: Path,
    scene: Scene,
) -> None:
    async with scene(tmp_path) as (service, break_log, _):
        break_log()

        async def losing() -> bool:
            await service.capture("talks")
            return await lines_lost(service) > 0

        await until(losing, "lines are lost", within_s=CALL_S)
        assert await service.stop() == 0


async def test_a_reader_that_is_gone(tmp_path: Path) -> None:
    """Every call is answered, a camera recovers, and the service ends when asked to."""
    log_path = tmp_path / "service.log"
    faults = [fault("exit", at=2)]
    async with (
        LogPipe(log_path) as pipe,
        Service(
            tmp_path, camera(faults=faults), log_path=log_path, stderr=pipe.write_end
        ) as service,
    ):
        pipe.close_write_end()
        await service.capture()
        pipe.leave()
        assert (await service.capture()).capture.attempts == 2
        await service.stub.ResetCamera(api.ResetCameraRequest(camera="sim0"), timeout=CALL_S)
        await service.capture()
        assert await lines_lost(service) > 0
        assert await service.stop() == 0
