"""Starting touches no hardware: the service is there at once, whatever its cameras do."""

import asyncio
import statistics
import time

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conftest import StartService
from tests.support.scenes import camera, fault
from tests.support.service import Service

CAMERAS = 16
SERVING_S = 2.0
LIST_S = 0.050
WATCHED_S = 3.0


async def serving_after_s(service: Service) -> float:
    """Return how long after its start the service said that it serves."""
    stub = health_pb2_grpc.HealthStub(service.channel)
    response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=SERVING_S)
    took_s = time.monotonic() - service.started_at
    assert response.status == health_pb2.HealthCheckResponse.SERVING
    return took_s


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
    service = await start_service("".join(tables))
    serving_s = await serving_after_s(service)
    durations = []
    while time.monotonic() - service.started_at < serving_s + WATCHED_S:
        started = time.perf_counter()
        response = await service.stub.ListCameras(api.ListCamerasRequest(), timeout=5)
        durations.append(time.perf_counter() - started)
        assert [c.camera for c in response.cameras] == ids
        assert all(
            c.state in (pb.Camera.STATE_OPENING, pb.Camera.STATE_RECOVERING)
            for c in response.cameras
        )
        await asyncio.sleep(0.01)  # a client's rate, not a wait
    print(
        f"{kind}: serving after {serving_s:.2f} s; ListCameras {len(durations)} times, "
        f"p50 {statistics.median(durations) * 1e3:.1f} ms, max {max(durations) * 1e3:.1f} ms"
    )
    assert serving_s < SERVING_S
    assert max(durations) < LIST_S


async def test_no_camera_is_opened_before_its_first_use(start_service: StartService) -> None:
    service = await start_service("".join(camera(f"cam{n}") for n in range(CAMERAS)))
    await serving_after_s(service)
    listed = (await service.stub.ListCameras(api.ListCamerasRequest(), timeout=5)).cameras
    assert {c.state for c in listed} == {pb.Camera.STATE_CLOSED}
    assert not any(c.HasField("capabilities") for c in listed)
    assert len(service.workers()) <= 1, "the warm one, which has no device"
    await service.capture("cam0")
    listed = (await service.stub.ListCameras(api.ListCamerasRequest(), timeout=5)).cameras
    assert [c.state for c in listed[:2]] == [pb.Camera.STATE_READY, pb.Camera.STATE_CLOSED]
    assert len(service.workers()) <= 2, "its own, and the warm one"


async def test_a_camera_opened_at_start_is_ready_without_a_call(
    start_service: StartService,
) -> None:
    service = await start_service(camera(open_at_start=True))
    await service.wait_for_state(pb.Camera.STATE_READY)
    assert (await service.camera()).camera.model == "Simulated camera"


async def test_a_camera_that_is_not_open_yet_answers_at_once_how_it_is(
    start_service: StartService,
) -> None:
    faults = [fault("hang", on="open", times=0)]
    service = await start_service(camera(faults=faults, open_at_start=True, open_timeout_s=60.0))
    await service.wait_for_state(pb.Camera.STATE_OPENING)
    started = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.capture(timeout=0.5)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 0.7
