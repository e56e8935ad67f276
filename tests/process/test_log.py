"""Whoever reads the log, or does not, the cameras are served."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from tests.conftest import StartService
from tests.process.test_metrics import scrape
from tests.support import plugins
from tests.support.log_pipe import LogPipe
from tests.support.ports import held_port
from tests.support.scenes import camera, fault
from tests.support.service import CALL_S, Service
from tests.support.smalldisk import SmallDisk
from tests.support.timing import Timings
from tests.support.waiting import finished, until

SCENE = camera() + camera("talks", driver="plugins:TalkativeCamera", env=plugins.ENV)
SAMPLES = 40
ROOM_BYTES = 256 * 1024
SLOWER = 1.5
"""Of two services that do the same, one may be so much slower: the disk is everybody's."""

Broken = Callable[[], object]
"""Does to a log what the test is about."""


@contextlib.asynccontextmanager
async def stopped_reader(folder: Path) -> AsyncIterator[tuple[Service, Broken, Broken]]:
    """Give a service, what stops its log's reader, and what has it go on."""
    log_path = folder / "service.log"
    async with (
        LogPipe(log_path) as pipe,
        Service(folder, SCENE, log_path=log_path, stderr=pipe.write_end) as service,
    ):
        await asyncio.wait_for(service.logged("metrics served"), CALL_S)
        yield service, pipe.stop, pipe.go_on


@contextlib.asynccontextmanager
async def full_disk(folder: Path) -> AsyncIterator[tuple[Service, Broken, Broken]]:
    """Give a service, what fills the disk of its log, and what makes room there."""
    async with SmallDisk(folder / "disk", f"size={ROOM_BYTES}") as disk:
        log_path = disk.path / "service.log"
        async with Service(folder, SCENE, log_path=log_path) as service:
            yield service, disk.fill, disk.make_room


Scene = Callable[[Path], contextlib.AbstractAsyncContextManager[tuple[Service, Broken, Broken]]]
SCENES = [stopped_reader, full_disk]


async def talk(service: Service) -> None:
    """Have some hundred lines logged, again and again."""
    while True:
        await service.capture("talks")


async def lines_lost(service: Service) -> float:
    samples = await scrape(service)
    return samples["camsvc_log_lines_lost_total", frozenset()]


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
        break_log()
        talking = [asyncio.create_task(talk(each)) for each in (service, calm)]

        async def losing() -> bool:
            return await lines_lost(service) > 0

        await until(losing, "lines are lost", within_s=CALL_S)
        slowed, control = Timings(), Timings()
        for _ in range(SAMPLES):
            with slowed.one():
                await listed(service)
            with control.one():
                await listed(calm)
        for task in talking:
            assert not task.done(), "its pictures are taken all the while"
            task.cancel()
        await asyncio.wait(talking)
        assert (await service.capture()).capture.capture_id
        await service.stub.ResetCamera(api.ResetCameraRequest(camera="sim0"), timeout=CALL_S)
        mend_log()
        async with asyncio.timeout(CALL_S):
            await service.capture("talks")
            lost = await service.logged("log lines lost")
        assert int(lost["count"]) > 0
        assert await lines_lost(calm) == 0
        print(f"log not taken: {slowed}; taken: {control}")
        slowed.assert_within(control.percentile_s(90) * SLOWER, percent=90)


async def listed(service: Service) -> None:
    await service.stub.ListCameras(api.ListCamerasRequest(), timeout=CALL_S)


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


async def test_stderr_that_was_closed(tmp_path: Path) -> None:
    """No file that the service opens gets the number of stderr, and so the log's lines."""
    with held_port() as port:
        address = f"127.0.0.1:{port}"
        service = await asyncio.create_subprocess_exec(
            *("sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "camsvc", "serve"),
            *("--listen", address, "--data-dir", str(tmp_path / "data")),
            stdout=asyncio.subprocess.PIPE,
        )
        async with grpc.aio.insecure_channel(address) as channel:
            await CameraServiceStub(channel).Capture(
                api.CaptureRequest(camera="sim0"), timeout=CALL_S, wait_for_ready=True
            )
        assert os.readlink(f"/proc/{service.pid}/fd/2") == os.devnull
        service.send_signal(signal.SIGTERM)
        assert (await finished(service, within_s=CALL_S))[0] == 0
