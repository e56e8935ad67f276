"""A service's methods as gRPC serves them: replies, errors, streams, deadlines."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub
from structlog.testing import capture_logs

from camsvc.api.service import DESCRIPTOR, Replies, Reply
from camsvc.grpc_server.admission import Admission
from camsvc.grpc_server.connections import Connections
from camsvc.grpc_server.handlers import handlers_of
from camsvc.grpc_server.untaken import Untaken
from camsvc.model.caller import Caller
from camsvc.model.errors import CameraBusy, CameraUnavailable

if TYPE_CHECKING:
    from camapi.v1.camera_service_pb2_grpc import CameraServiceAsyncStub as Stub

BOUND_S = 10.0
WRITE_S = 0.5
FRAME = api.LiveViewResponse(frame=pb.LiveFrame(sequence=7))
LARGE = api.LiveViewResponse(frame=pb.LiveFrame(data=bytes(100_000)))
RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": DESCRIPTOR.full_name}],
            "retryPolicy": {
                "maxAttempts": 2,
                "initialBackoff": "0.01s",
                "maxBackoff": "0.01s",
                "backoffMultiplier": 1,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


class Methods:
    """A service of three methods; what they do goes by the camera asked for."""

    def __init__(self) -> None:
        self.timeouts: list[float | None] = []
        self.opened = 0
        self.go_on = asyncio.Event()
        self.left = asyncio.Event()

    async def get_camera(
        self, request: api.GetCameraRequest, caller: Caller, timeout_s: float | None
    ) -> Reply:
        self.timeouts.append(timeout_s)
        match request.camera:
            case "busy":
                raise CameraBusy("held", retry_after_s=2.0)
            case "broken":
                raise KeyError("/secret/path")
        response = api.GetCameraResponse(camera=pb.Camera(camera=request.camera))
        return response.SerializeToString() if request.camera == "bytes" else response

    @contextlib.asynccontextmanager
    async def live_view(
        self, request: api.LiveViewRequest, caller: Caller
    ) -> AsyncIterator[Replies]:
        self.opened += 1
        if request.camera == "away" and self.opened == 1:
            raise CameraUnavailable("away", retry_after_s=0.001)
        try:
            yield self._frames(request.camera)
        finally:
            self.left.set()

    async def _frames(self, camera: str) -> Replies:
        await self.go_on.wait()
        yield FRAME
        yield FRAME.SerializeToString()
        while camera == "endless":
            yield LARGE
        if camera == "lost":
            raise CameraUnavailable("lost", retry_after_s=1.0)
        await asyncio.Event().wait()


def handlers(methods: Methods) -> grpc.GenericRpcHandler:
    untaken = Untaken()
    return handlers_of(
        methods,
        DESCRIPTOR,
        admission=Admission(Connections(16, untaken), max_calls=100, max_calls_per_s=0),
        untaken=untaken,
        write_timeouts_s={"LiveView": WRITE_S},
    )


@pytest.fixture
def methods() -> Methods:
    return Methods()


@pytest.fixture
async def address(methods: Methods) -> AsyncIterator[str]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers(methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@pytest.fixture
async def stub(address: str) -> "AsyncIterator[Stub]":
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
        yield CameraServiceStub(channel)


async def refused(stub: "Stub", camera: str, timeout: float = BOUND_S) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetCamera(api.GetCameraRequest(camera=camera), timeout=timeout)
    return caught.value


@pytest.mark.parametrize("camera", ["message", "bytes"])
async def test_a_reply_is_a_message_or_its_bytes(stub: "Stub", camera: str) -> None:
    response = await stub.GetCamera(api.GetCameraRequest(camera=camera), timeout=BOUND_S)
    assert response.camera.camera == camera


async def test_the_time_left_is_handed_down(stub: "Stub", methods: Methods) -> None:
    # gRPC rounds a time-out up on its way, by a hundredth at most.
    await stub.GetCamera(api.GetCameraRequest(camera="a"), timeout=0.98 * BOUND_S)
    await stub.GetCamera(api.GetCameraRequest(camera="a"))
    limited, unlimited = methods.timeouts
    assert limited is not None
    assert 0 < limited <= BOUND_S
    assert unlimited is None


async def test_an_rpc_without_a_method_is_unimplemented(stub: "Stub") -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ListCameras(api.ListCamerasRequest(), timeout=BOUND_S)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(("timeout", "pushback"), [(BOUND_S, "2000"), (1.5, "-1")])
async def test_an_error_comes_with_its_details_and_when_to_call_again(
    stub: "Stub", timeout: float, pushback: str
) -> None:
    error = await refused(stub, "busy", timeout)
    assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "held")
    trailers = dict(error.trailing_metadata() or ())
    assert trailers["grpc-retry-pushback-ms"] == pushback
    details = trailers["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    assert b"CAMERA_BUSY" in details


async def test_an_unhandled_exception_shows_nothing_of_itself(stub: "Stub") -> None:
    with capture_logs() as logs:
        error = await refused(stub, "broken")
    assert error.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in repr(error)
    assert len(logs) == 1


async def test_a_stream_that_is_refused_has_not_begun(address: str, methods: Methods) -> None:
    """So that gRPC's own retry takes it up, which it does only until something was sent."""
    methods.go_on.set()
    options = [("grpc.service_config", json.dumps(RETRIES))]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        call = CameraServiceStub(channel).LiveView(api.LiveViewRequest(camera="away"))
        async with asyncio.timeout(BOUND_S):
            assert await call.read() == FRAME
    assert methods.opened == 2


async def test_a_stream_begins_before_its_first_reply(stub: "Stub", methods: Methods) -> None:
    call = stub.LiveView(api.LiveViewRequest(camera="a"), timeout=BOUND_S)
    await call.initial_metadata()
    assert not call.done()
    methods.go_on.set()
    assert [await call.read(), await call.read()] == [FRAME, FRAME]


async def test_a_stream_ends_with_what_it_raises(stub: "Stub", methods: Methods) -> None:
    methods.go_on.set()
    call = stub.LiveView(api.LiveViewRequest(camera="lost"), timeout=BOUND_S)
    assert [await call.read(), await call.read()] == [FRAME, FRAME]
    assert await call.code() == grpc.StatusCode.UNAVAILABLE
    assert methods.left.is_set()


async def test_a_client_that_leaves_ends_its_stream(stub: "Stub", methods: Methods) -> None:
    call = stub.LiveView(api.LiveViewRequest(camera="a"), timeout=BOUND_S)
    await call.initial_metadata()
    call.cancel()
    async with asyncio.timeout(BOUND_S):
        await methods.left.wait()


async def test_a_client_that_takes_nothing_loses_its_stream(stub: "Stub", methods: Methods) -> None:
    """As a loop does that was left by `break`; who looks at it again is told why."""
    methods.go_on.set()
    call = stub.LiveView(api.LiveViewRequest(camera="endless"))
    async for _ in call:
        break
    async with asyncio.timeout(BOUND_S):
        await methods.left.wait()
    assert not call.done()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "has taken no message for 0.5 s" in (caught.value.details() or "")


async def test_who_takes_nothing_does_not_hold_up_the_servers_end(methods: Methods) -> None:
    methods.go_on.set()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers(methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = CameraServiceStub(channel).LiveView(api.LiveViewRequest(camera="endless"))
        async for _ in call:
            break
        async with asyncio.timeout(BOUND_S):
            await methods.left.wait()
            await server.stop(0.1)
