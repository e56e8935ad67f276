"""grpc.health.v1 tells of the service, and of each camera."""

import asyncio

import grpc
import pytest
from camapi.v1 import camera_service_pb2 as api
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conftest import StartService
from tests.support.scenes import camera, fault
from tests.support.service import CALL_S, Service

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Watch:
    """A health stream."""

    def __init__(self, service: Service, name: str) -> None:
        stub = health_pb2_grpc.HealthStub(service.channel)
        self._call = stub.Watch(health_pb2.HealthCheckRequest(service=name))

    async def next(self) -> int:
        async with asyncio.timeout(CALL_S):
            response = await self._call.read()
        assert response is not grpc.aio.EOF
        return int(response.status)

    async def leave(self) -> None:
        """Cancel, and wait for the end of the call."""
        self._call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._call.read()


async def status(service: Service, name: str) -> int:
    stub = health_pb2_grpc.HealthStub(service.channel)
    request = health_pb2.HealthCheckRequest(service=name)
    return int((await stub.Check(request, timeout=CALL_S)).status)


async def test_a_camera_is_not_serving_while_it_recovers(start_service: StartService) -> None:
    service = await start_service(camera(faults=[fault("crash", at=2)]) + camera("sim1"))
    watch = Watch(service, "camera/sim0")
    assert await watch.next() == SERVING, "a closed camera is well"
    await service.capture()
    await service.capture()
    assert [await watch.next(), await watch.next()] == [NOT_SERVING, SERVING]
    assert await status(service, "camera/sim1") == SERVING
    await watch.leave()


async def test_a_faulted_camera_is_not_serving_and_the_service_is(
    start_service: StartService,
) -> None:
    service = await start_service(camera(faults=[fault("permanent")]))
    with pytest.raises(grpc.aio.AioRpcError):
        await service.capture()
    watch = Watch(service, "camera/sim0")
    assert await watch.next() == NOT_SERVING
    for name in ("", "camapi.v1.CameraService"):
        assert await status(service, name) == SERVING
    await service.stub.ResetCamera(api.ResetCameraRequest(camera="sim0"), timeout=CALL_S)
    assert await watch.next() == SERVING
    await watch.leave()


async def test_an_unknown_name_is_not_found(start_service: StartService) -> None:
    service = await start_service(camera())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await status(service, "camera/none")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_a_watcher_that_leaves_takes_no_news_from_another(
    start_service: StartService,
) -> None:
    service = await start_service(camera(faults=[fault("permanent", at=2)]))
    staying, leaving = Watch(service, "camera/sim0"), Watch(service, "camera/sim0")
    assert [await staying.next(), await leaving.next()] == [SERVING, SERVING]
    await leaving.leave()
    await service.capture()  # by now the service knows that it has left
    with pytest.raises(grpc.aio.AioRpcError):
        await service.capture()
    assert await staying.next() == NOT_SERVING
    await staying.leave()
