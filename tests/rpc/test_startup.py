"""Starting touches no hardware: the service is there at once, whatever its cameras do."""

import asyncio
import os
import time
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conftest import StartService
from tests.support.scenes import camera, fault
from tests.support.service import CALL_S, Service
from tests.support.timing import Timing, Timings, timing

CAMERAS = 16
SERVING_S = 2.0
LIST_S = 0.050
WATCHED_S = 3.0


async def serving(start_service: StartService, settings: str, **options: Any) -> Service:
    """Start the service; by its health it serves as soon as is promised."""
    took = Timing(os.getpid())
    service = await start_service(settings, **options)
    stub = health_pb2_grpc.HealthStub(service.channel)
    response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=CALL_S)
    took.stop(service.ps.pid)
    print(took)
    assert response.status == health_pb2.HealthCheckResponse.SERVING
    took.assert_within(SERVING_S)
    return service


@pytest.mark.timed
@pytest.mark.parametrize("open_timeout_s", [60.0, 1.0], ids=["waited for", "killed in turn"])
@pytest.mark.parametrize("kind", ["hang", "hang_gil"])
async def test_16_cameras_that_hang_in_open_for_ever_delay_nothing(
    start_service: StartService, kind: str, open_timeout_s: float
) -> None:
    faults = [fault(kind, on="open", times=0)]
    ids = [f"cam{n}" for n in range(CAMERAS)]
    tables = [
        camera(i, faults=faults, open_at_start=True, open_timeout_s=open_timeout_s) for i in ids
    ]
    service = await serving(start_service, "".join(tables))
    until, timings = time.monotonic() + WATCHED_S, Timings()
    while time.monotonic() < until:
        with timings.one():
            response = await service.stub.ListCameras(api.ListCamerasRequest(), timeout=CALL_S)
        assert [c.camera for c in response.cameras] == ids
        assert all(
            c.state in (pb.Camera.STATE_OPENING, pb.Camera.STATE_RECOVERING)
            for c in response.cameras
        )
        await asyncio.sleep(0.01)  # a client's rate, not a wait
    print(f"{kind}: ListCameras {timings}")
    timings.assert_within(LIST_S)


@pytest.mark.timed
async def test_no_camera_is_opened_before_its_first_use(start_service: StartService) -> None:
    service = await serving(start_service, "".join(camera(f"cam{n}") for n in range(CAMERAS)))
    listed = (await service.stub.ListCameras(api.ListCamerasRequest(), timeout=CALL_S)).cameras
    assert {c.state for c in listed} == {pb.Camera.STATE_CLOSED}
    assert not any(c.HasField("capabilities") for c in listed)
    assert len(service.workers()) <= 1, "the warm one, which has no device"
    await service.capture("cam0")
    listed = (await service.stub.ListCameras(api.ListCamerasRequest(), timeout=CALL_S)).cameras
    assert [c.state for c in listed[:2]] == [pb.Camera.STATE_READY, pb.Camera.STATE_CLOSED]
    assert len(service.workers()) <= 2, "its own, and the warm one"


async def test_a_camera_opened_at_start_is_ready_without_a_call(
    start_service: StartService,
) -> None:
    service = await start_service(camera(open_at_start=True))
    await service.wait_for_state(pb.Camera.STATE_READY)
    assert (await service.camera()).camera.model == "Simulated camera"


@pytest.mark.timed
async def test_a_camera_that_is_not_open_yet_answers_at_once_how_it_is(
    start_service: StartService,
) -> None:
    faults = [fault("hang", on="open", times=0)]
    service = await start_service(camera(faults=faults, open_at_start=True, open_timeout_s=60.0))
    await service.wait_for_state(pb.Camera.STATE_OPENING)
    with timing() as took, pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.capture(timeout=0.5)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    took.assert_within(0.7)
