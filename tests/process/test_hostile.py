"""Clients that take, end and answer nothing, beside honest ones that notice none of it.

All of them for a minute: ENDURANCE=full.
"""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support import endurance
from tests.support.hostile import Hostile
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.timing import Timings
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(endurance.TIMEOUT_S)

FULL = endurance.FULL
SCALE = 1.0 if FULL else 0.1
ATTACK_S = 60.0 if FULL else 4.0
CALM_CAPTURES = 200 if FULL else 25
PERCENT = 99 if FULL else 90
MIB = 2**20
SETTINGS = camera(width_px=1280, height_px=720, capture_duration_s=0.1)
DESCRIPTORS = ("prlimit", "--nofile=1024:1024")


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with Service(tmp_path, SETTINGS, entering=DESCRIPTORS) as service:
        yield service


async def taken(service: Service, count: int, timings: Timings) -> None:
    for _ in range(count):
        with timings.one():
            await service.capture(busy_policy=api.CaptureRequest.BUSY_POLICY_WAIT)


def rss(service: Service) -> int:
    """Return the service's resident memory in bytes."""
    size: int = service.ps.memory_info().rss
    return size


async def test_honest_captures_are_as_quick_and_memory_comes_back(service: Service) -> None:
    calm, attacked = Timings(), Timings()
    capture_id = (await service.capture()).capture.capture_id
    await taken(service, CALM_CAPTURES, calm)
    calm_bytes, most_bytes = rss(service), 0
    attacker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.hostile"),
        *(service.address, capture_id, str(SCALE)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:

        async def crowded() -> bool:
            return service.ps.num_fds() > (700 if FULL else 400)

        await until(crowded, "they have come", within_s=CALL_S)
        end_at = asyncio.get_running_loop().time() + ATTACK_S
        while asyncio.get_running_loop().time() < end_at:
            await taken(service, 1, attacked)
            most_bytes = max(most_bytes, rss(service))
        assert attacker.returncode is None
    finally:
        attacker.send_signal(signal.SIGKILL)
        await attacker.wait()
    print(f"calm: {calm}\nattacked: {attacked}")
    print(f"RSS {calm_bytes / MIB:.0f} MiB, at most {most_bytes / MIB:.0f} MiB")
    state = (await service.camera()).camera
    assert state.state in (pb.Camera.STATE_READY, pb.Camera.STATE_CAPTURING)
    assert state.statistics.captures_failed == 0
    attacked.assert_within(2 * calm.percentile_s(PERCENT), percent=PERCENT)
    assert most_bytes <= calm_bytes + 200 * MIB

    async def given_back() -> bool:
        return rss(service) <= calm_bytes + 50 * MIB

    await until(given_back, "memory is given back", within_s=60.0)


async def test_replies_that_take_little_room_may_wait_for_ever(service: Service) -> None:
    capture_id = (await service.capture()).capture.capture_id
    async with Hostile(service.address) as client:
        for _ in range(30):
            await client.call("DownloadImage", api.DownloadImageRequest(capture_id=capture_id))
        await service.capture()
        assert not client.closed.is_set(), "it holds too little to harm anybody"


async def test_a_camera_that_finds_no_descriptor_is_lost_and_comes_back(service: Service) -> None:
    await service.capture()
    limits = resource.prlimit(service.ps.pid, resource.RLIMIT_NOFILE)
    codes = set()
    for spare in (1, 3, 5):  # of the six that a worker and a warm one have
        left = service.ps.num_fds() - 6 + spare
        resource.prlimit(service.ps.pid, resource.RLIMIT_NOFILE, (left, limits[1]))
        for worker in service.workers():
            worker.kill()
        request = api.GetFrameRequest(camera="sim0")
        try:
            await service.stub.GetFrame(request, timeout=CALL_S)
        except grpc.aio.AioRpcError as error:
            codes.add(error.code())
        resource.prlimit(service.ps.pid, resource.RLIMIT_NOFILE, limits)
        await service.wait_for_state(pb.Camera.STATE_READY)
    assert codes <= {grpc.StatusCode.UNAVAILABLE}, codes
    assert [entry for entry in service.log() if entry["event"] == "worker not started"]
    assert (await service.capture()).capture.attempts == 1


async def test_a_watcher_of_health_with_a_name_of_a_megabyte_is_refused(service: Service) -> None:
    stub = health_pb2_grpc.HealthStub(service.channel)
    watching = stub.Watch(health_pb2.HealthCheckRequest(service="x" * 10**6), timeout=CALL_S)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await watching.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "1024 bytes" in (caught.value.details() or "")
