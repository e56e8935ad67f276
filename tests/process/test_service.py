"""The service's end: asked to stop, told to stop at once, or killed."""

import asyncio
import signal

import grpc
import psutil
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conftest import StartService
from tests.support.pictures import number
from tests.support.ports import held_port
from tests.support.scenes import HANGS, camera, fault
from tests.support.service import CALL_S, Service
from tests.support.timing import Timing, timing

GONE_S = 2.0
FORCED = 130


async def capturing(
    service: Service, camera_id: str = "sim0"
) -> "asyncio.Task[api.CaptureResponse]":
    """Begin a capture, and wait until the camera is at it."""
    task = asyncio.create_task(service.capture(camera_id))
    await service.wait_for_state(pb.Camera.STATE_CAPTURING, camera_id)
    return task


async def stopped(service: Service, number_: int) -> Timing:
    """Send a signal, and wait for the end."""
    with timing() as took:
        service.send(number_)
        await service.ended()
    return took


async def code_of(call: "asyncio.Task[api.CaptureResponse]") -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


@pytest.mark.timed
@pytest.mark.parametrize("number_", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
async def test_a_capture_under_way_is_finished_within_the_grace(
    start_service: StartService, number_: int
) -> None:
    service = await start_service("grace_s = 8.0\n" + camera(capture_duration_s=1.0))
    await service.capture()
    call = await capturing(service)
    for worker in service.workers():
        worker.send_signal(signal.SIGINT)  # as a terminal does, to the whole group
    took = await stopped(service, number_)
    assert number(await call) == 2
    assert await service.stop() == 0
    took.assert_within(3)  # it waits for the capture, not for the grace


async def test_a_stopping_service_takes_no_more_calls(start_service: StartService) -> None:
    service = await start_service("grace_s = 8.0\n" + camera(capture_duration_s=1.0))
    await service.capture()
    call = await capturing(service)
    service.send(signal.SIGTERM)
    await service.logged("stopping")
    channel = service.connect()
    late = health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest(), timeout=CALL_S
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await late
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    await channel.close()
    assert number(await call) == 2
    await service.ended()


@pytest.mark.timed
@pytest.mark.parametrize("kind", ["", *HANGS])
async def test_a_capture_that_outlasts_the_grace_is_ended_with_it(
    start_service: StartService, kind: str
) -> None:
    faults = [fault(kind, at=2)] if kind else []
    service = await start_service(
        "grace_s = 0.5\n" + camera(faults=faults) + camera("slow", capture_duration_s=20.0)
    )
    await service.capture()
    call = await capturing(service, "sim0" if kind else "slow")
    took = await stopped(service, signal.SIGTERM)
    assert await code_of(call) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert await service.stop() == 0
    took.assert_within(0.5 + 2.5)


@pytest.mark.timed
async def test_an_open_stream_does_not_hold_the_end_up(start_service: StartService) -> None:
    """A watcher of health would watch for ever: its stream ends with UNAVAILABLE."""
    service = await start_service("grace_s = 15.0\n" + camera())
    watch = health_pb2_grpc.HealthStub(service.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    (await stopped(service, signal.SIGTERM)).assert_within(3)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while await watch.read() is not grpc.aio.EOF:
            pass
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.timed
async def test_a_second_ctrl_c_ends_it_at_once(start_service: StartService) -> None:
    service = await start_service("grace_s = 30.0\n" + camera(capture_duration_s=20.0))
    service.exit_codes = {FORCED}
    call = await capturing(service)
    workers = service.workers()
    service.send(signal.SIGINT)
    await service.logged("stopping")
    (await stopped(service, signal.SIGINT)).assert_within(1)
    assert await code_of(call) == grpc.StatusCode.UNAVAILABLE
    assert psutil.wait_procs(workers, timeout=10 * GONE_S)[1] == []


@pytest.mark.timed
@pytest.mark.parametrize("kind", ["idle", "slow", *HANGS])
async def test_no_worker_outlives_a_killed_service(start_service: StartService, kind: str) -> None:
    """Whatever its driver is at, and even when the interpreter cannot run a line of Python."""
    faults = [] if kind == "idle" else [fault(kind, at=2)]
    service = await start_service(camera(faults=faults, attempt_timeout_s=60.0))
    await service.capture()
    call = await capturing(service) if faults else None
    workers = service.workers()
    assert workers
    service.send(signal.SIGKILL)
    with timing() as took:
        assert psutil.wait_procs(workers, timeout=10 * GONE_S)[1] == []
    took.assert_within(GONE_S)
    if call is not None:
        assert await code_of(call) == grpc.StatusCode.UNAVAILABLE
    assert await service.ended() == -signal.SIGKILL


async def test_it_can_be_started_again_at_once_at_the_same_address(
    start_service: StartService,
) -> None:
    with held_port() as port:
        for _ in range(2):
            service = await start_service(camera(), listen=f"127.0.0.1:{port}")
            await service.capture()
            await service.stop()
