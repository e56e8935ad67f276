"""Who calls too often is told when to come back; it is a setting, and off by default."""

import asyncio
from pathlib import Path

import grpc
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import RpcErrorInfo, error_info
from camsvc_client.aio import AsyncCameraClient

from tests.support.scenes import camera
from tests.support.service import CALL_S, Service

REFUSED = grpc.StatusCode.RESOURCE_EXHAUSTED
LIMIT = 5
CALLS = 100


async def refusals(service: Service, calls: int) -> list[RpcErrorInfo]:
    """Make calls at once, unary ones and streams; return those that were refused."""

    async def one(number: int) -> None:
        if number % 2:
            await service.stub.GetCamera(api.GetCameraRequest(camera="sim0"), timeout=CALL_S)
        else:
            request = api.CaptureEventsRequest()
            await service.stub.CaptureEvents(request, timeout=CALL_S).read()

    ended = await asyncio.gather(*map(one, range(calls)), return_exceptions=True)
    errors = [each for each in ended if each is not None]
    assert all(isinstance(each, grpc.aio.AioRpcError) for each in errors), errors
    return [error_info(each) for each in errors if isinstance(each, grpc.aio.AioRpcError)]


async def test_beyond_its_calls_in_a_second_a_caller_is_refused(tmp_path: Path) -> None:
    async with Service(tmp_path, f"max_calls_per_s = {LIMIT}\n" + camera()) as service:
        refused = await refusals(service, CALLS)
        assert 0 < len(refused) <= CALLS - LIMIT
        for info in refused:
            assert (info.code, info.reason) == (REFUSED, "RATE_LIMITED")
            assert "more than 5 calls in a second" in info.message
            assert info.retry_delay_s is not None
            assert 0 < info.retry_delay_s <= 1
        async with AsyncCameraClient(service.address) as client:
            for _ in range(2 * LIMIT):  # the client waits as it is told
                assert await client.get_camera("sim0", timeout=CALL_S)


async def test_without_the_setting_nobody_is(tmp_path: Path) -> None:
    async with Service(tmp_path, camera()) as service:
        assert not await refusals(service, CALLS)
