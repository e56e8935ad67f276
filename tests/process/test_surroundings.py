"""What a service may be started in: without streams, with little of what the system has to give."""

import asyncio
import os
import signal
import sys
import uuid
from pathlib import Path

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from camsvc.storage.disk_check import ANSWER_S
from camsvc.system import posix
from tests.process.test_disk_faults import NOT_SERVING, health, presses, refused, until_well
from tests.support import preload
from tests.support.endurance import FULL
from tests.support.ports import held_port
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.timing import timing
from tests.support.waiting import finished

FORCED = 130
LIMIT_BYTES = 1 << 30


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
async def test_streams_that_were_closed(tmp_path: Path, closed: str) -> None:
    """Nothing that the service opens gets their numbers, and with them what libraries say."""
    with held_port() as port:
        address = f"127.0.0.1:{port}"
        service = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "camsvc", "serve"),
            *("--listen", address, "--data-dir", str(tmp_path / "data")),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with grpc.aio.insecure_channel(address) as channel:
            await CameraServiceStub(channel).Capture(
                api.CaptureRequest(camera="sim0"), timeout=CALL_S, wait_for_ready=True
            )
        for number in (0, 1, 2):
            if f"{number}>" in closed or f"{number}<" in closed:
                assert os.readlink(f"/proc/{service.pid}/fd/{number}") == os.devnull
        service.send_signal(signal.SIGTERM)
        assert (await finished(service, within_s=CALL_S))[0] == 0


def test_memory_that_could_be_run_is_not_asked_for() -> None:
    """Some systems refuse it (`vm.memfd_noexec`), and Linux logs each time that one may want it."""
    fd = posix.nameless_file(1)
    mode = os.fstat(fd).st_mode
    os.close(fd)
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 3):
        pytest.skip("before Linux 6.3, all such memory could be run")
    assert not mode & 0o111


async def test_a_limit_of_files_that_can_be_raised_is(tmp_path: Path) -> None:
    entering = ("prlimit", f"--fsize={LIMIT_BYTES}:unlimited")
    async with Service(tmp_path, camera(), entering=entering) as service:
        assert (await service.capture()).capture.attempts == 1


async def test_a_limit_of_files_that_cannot_be_raised_is_told_before_the_shutter(
    tmp_path: Path,
) -> None:
    """The memory that pictures cross in has no room: it is a file, if one without a disk."""
    entering = ("prlimit", f"--fsize={LIMIT_BYTES}")
    async with Service(tmp_path, camera(open_at_start=True), entering=entering) as service:
        await service.wait_for_state(pb.Camera.STATE_RECOVERING)
        fault = (await service.camera()).camera.fault.message
        assert f"a file may have {LIMIT_BYTES:,} bytes here (ulimit -f)" in fault
        assert not service.workers()


async def test_a_worker_that_the_system_kills_is_told_so(tmp_path: Path) -> None:
    """As it does where memory is short; the camera is back by itself."""
    async with Service(tmp_path, camera(capture_duration_s=2.0)) as service:
        await service.capture()
        call = asyncio.ensure_future(service.capture())
        await service.wait_for_state(pb.Camera.STATE_CAPTURING)
        pid = (await service.camera()).camera.worker_pid
        os.kill(pid, signal.SIGKILL)
        assert (await call).capture.attempts == 2
        lost = [entry["error"] for entry in service.log() if entry["event"] == "camera lost"]
        assert lost == ["the worker was killed by SIGKILL: memory was short, or somebody did it"]


async def test_a_disk_that_does_not_answer(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Who meets that is told, and the others before the shutter; it is over by itself."""
    hung = tmp_path / "hung"
    entering = preload.entering(tmp_path_factory, "hung_disk", hung)
    async with Service(tmp_path, camera(), entering=entering) as service:
        await service.capture()
        pressed = await presses(service)
        hung.touch()
        with timing() as took:
            assert "does not answer" in await refused(service, str(uuid.uuid4()), retries=True)
        took.assert_within(ANSWER_S + 1.5)
        pressed += 1
        with timing() as took:
            for _ in range(10):
                await refused(service, str(uuid.uuid4()))
        took.assert_within(1.0)
        assert await health(service) == NOT_SERVING
        assert await presses(service) == pressed
        hung.unlink()
        await until_well(service)
        await service.capture()
        assert await presses(service) == pressed + 1


@pytest.mark.skipif(not FULL, reason="it takes half a minute: make test-endurance")
async def test_a_stop_does_not_wait_for_ever_for_a_disk(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    hung = tmp_path / "hung"
    entering = preload.entering(tmp_path_factory, "hung_disk", hung)
    async with Service(tmp_path, "grace_s = 0\n" + camera(), entering=entering) as service:
        service.exit_codes.add(FORCED)
        await service.capture()
        hung.touch()
        with timing() as took:
            assert await service.stop() == FORCED
        took.assert_within(21.0)
