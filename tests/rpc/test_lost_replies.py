"""A reply that is lost on its way costs a retry, and never a second press of the shutter."""

import asyncio
import random
import uuid
from typing import TYPE_CHECKING

import grpc
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub
from camsvc_client import channel_options

from tests.conftest import StartService
from tests.support.history import QUICK, WAIT, exposures, listed, sha256
from tests.support.proxy import Proxy
from tests.support.scenes import camera
from tests.support.service import CALL_S

if TYPE_CHECKING:  # it is in the generated types only
    from camapi.v1.camera_service_pb2_grpc import CameraServiceAsyncStub

SEED = 4
CAPTURES = 100
PULLED = 50
RETRIED_BY_GRPC = 3
Capture = pb.Capture


def new(chance: random.Random) -> api.CaptureRequest:
    return api.CaptureRequest(
        camera="sim0", request_id=str(uuid.UUID(int=chance.getrandbits(128))), busy_policy=WAIT
    )


async def answer(
    stub: "CameraServiceAsyncStub", request: api.CaptureRequest
) -> api.CaptureResponse | None:
    """Ask once; None: the line was cut before the answer had come through."""
    try:
        return await stub.Capture(request, wait_for_ready=True, timeout=CALL_S)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return None


async def insistent(
    stub: "CameraServiceAsyncStub", request: api.CaptureRequest
) -> api.CaptureResponse:
    """Ask until there is an answer."""
    async with asyncio.timeout(CALL_S):
        while (response := await answer(stub, request)) is None:
            pass
        return response


def client(line: Proxy) -> grpc.aio.Channel:
    """Return a channel that repeats nothing by itself."""
    return grpc.aio.insecure_channel(line.address, options=[("grpc.enable_retries", 0)])


async def test_100_captures_each_with_lost_replies_press_the_shutter_100_times(
    start_service: StartService,
) -> None:
    """Up to three replies of each are cut off, at any of their bytes."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    service = await start_service(camera(**QUICK))
    size = len((await service.capture()).image_data)
    responses, lost = [], 0
    async with Proxy(service.address) as line, client(line) as channel:
        stub = CameraServiceStub(channel)
        for _ in range(CAPTURES):
            request = new(chance)
            for _ in range(chance.randint(1, 3)):
                lost += 1
                line.cut_next_reply(after_bytes=chance.choice((0, 9, chance.randrange(size))))
                while line.cuts < lost:  # a request may be lost, too, on a line just cut
                    assert await answer(stub, request) is None
            responses.append(await insistent(stub, request))
    assert all(response.replayed for response in responses)
    assert [exposures(r.capture) for r in responses] == list(range(2, CAPTURES + 2))
    assert all(sha256(r.image_data) == r.capture.image.sha256 for r in responses)
    assert exposures((await service.capture()).capture) == CAPTURES + 2
    captures = await listed(service)
    assert captures[-2:0:-1] == [response.capture for response in responses]
    assert len(captures) == CAPTURES + 2


async def test_a_line_cut_at_any_instant_costs_no_picture_and_takes_none_twice(
    start_service: StartService,
) -> None:
    """Before the request has come, in its midst, or when the reply is on its way."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    service = await start_service(camera(**QUICK))
    await service.capture()
    responses = []
    loop = asyncio.get_running_loop()
    async with Proxy(service.address) as line, client(line) as channel:
        stub = CameraServiceStub(channel)
        for _ in range(PULLED):
            pulled = loop.call_later(chance.uniform(0, 0.04), line.cut)
            responses.append(await insistent(stub, new(chance)))
            pulled.cancel()
    print(f"{sum(response.replayed for response in responses)} of {PULLED} replayed")
    assert [exposures(r.capture) for r in responses] == list(range(2, PULLED + 2))
    kept = await listed(service, states=[Capture.STATE_SUCCEEDED])
    assert kept[-2::-1] == [response.capture for response in responses]
    assert await listed(service, states=[Capture.STATE_RUNNING, Capture.STATE_FAILED]) == []


async def test_grpcs_own_retries_are_as_good(start_service: StartService) -> None:
    """With the client package's channel options, the caller sees nothing of a lost reply."""
    service = await start_service(camera(**QUICK))
    chance = random.Random(SEED)
    async with (
        Proxy(service.address) as line,
        grpc.aio.insecure_channel(line.address, options=channel_options()) as channel,
    ):
        stub = CameraServiceStub(channel)
        for count in range(1, RETRIED_BY_GRPC + 1):
            line.cut_next_reply()
            response = await stub.Capture(new(chance), wait_for_ready=True, timeout=CALL_S)
            assert response.replayed
            assert exposures(response.capture) == count
        group = api.CaptureGroupRequest(requests=[new(chance)])
        line.cut_next_reply()
        answered = await stub.CaptureGroup(group, wait_for_ready=True, timeout=CALL_S)
        assert line.cuts == RETRIED_BY_GRPC + 1
    (result,) = answered.results
    assert result.replayed
    assert exposures(result.capture) == RETRIED_BY_GRPC + 1
    assert len(await listed(service)) == RETRIED_BY_GRPC + 1
