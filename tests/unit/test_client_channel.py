"""The client's channel: retries that obey the service, and errors decoded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio
import pytest
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import (
    CameraServiceServicer,
    CameraServiceStub,
    add_CameraServiceServicer_to_server,
)
from camsvc_client import (
    SERVICE_CONFIG,
    FieldViolation,
    RpcErrorInfo,
    channel_options,
    error_info,
)
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

Trailers = tuple[tuple[str, str | bytes], ...]


def rich(code: grpc.StatusCode, message: str, *details: Message) -> Trailers:
    """Give the trailers of a status with details."""
    status = Status(code=code.value[0], message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return (("grpc-status-details-bin", status.SerializeToString()),)


class Refusing(CameraServiceServicer):
    """A service that refuses `refusals` calls as told, then answers."""

    def __init__(self) -> None:
        self.calls = 0
        self.refusals = 1_000_000
        self.code = grpc.StatusCode.RESOURCE_EXHAUSTED
        self.trailers: Trailers = ()

    def Capture(
        self, request: api.CaptureRequest, context: grpc.ServicerContext
    ) -> api.CaptureResponse:
        self.calls += 1
        if self.calls <= self.refusals:
            context.set_trailing_metadata(self.trailers)
            context.abort(self.code, "no")
        return api.CaptureResponse(image_data=b"x" * 5 * 2**20)


@pytest.fixture
def service() -> Refusing:
    """Give the service's behaviour."""
    return Refusing()  # type: ignore[abstract]  # the other RPCs answer UNIMPLEMENTED


@pytest.fixture
def address(service: Refusing) -> Iterator[str]:
    """Serve with that behaviour."""
    server = grpc.server(ThreadPoolExecutor(2))
    add_CameraServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def capture(address: str) -> api.CaptureResponse:
    """Call Capture by a channel with the client's options."""
    with grpc.insecure_channel(address, options=channel_options()) as channel:
        return CameraServiceStub(channel).Capture(api.CaptureRequest(camera="sim0"), timeout=10)


def refused(address: str) -> RpcErrorInfo:
    """Call Capture, which has to fail, and decode the error."""
    with pytest.raises(grpc.RpcError) as caught:
        capture(address)
    return error_info(caught.value)


NEVER: Trailers = (("grpc-retry-pushback-ms", "-1"),)

BUSY = rich(
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    "no",
    ErrorInfo(reason="CAMERA_BUSY", domain="camsvc", metadata={"camera": "sim0"}),
    RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000)),
)

BUSY_INFO = RpcErrorInfo(
    code=grpc.StatusCode.RESOURCE_EXHAUSTED,
    reason="CAMERA_BUSY",
    message="no",
    metadata={"camera": "sim0"},
    retry_delay_s=1.5,
)


def test_a_refusal_is_decoded(service: Refusing, address: str) -> None:
    """Reason, metadata and the wait come out of a blocking call's error."""
    service.trailers = BUSY + NEVER
    assert refused(address) == BUSY_INFO


async def refused_asyncio(address: str) -> RpcErrorInfo:
    """Do as `refused` does, by grpc.aio."""
    async with grpc.aio.insecure_channel(address, options=channel_options()) as channel:
        stub = CameraServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Capture(api.CaptureRequest(camera="sim0"), timeout=10)
        return error_info(caught.value)


@pytest.mark.asyncio
async def test_a_refusal_is_decoded_by_asyncio(service: Refusing, address: str) -> None:
    """The same comes out of an asyncio call's error."""
    service.trailers = BUSY + NEVER
    assert await refused_asyncio(address) == BUSY_INFO


def test_field_violations_are_decoded(service: Refusing, address: str) -> None:
    """Each refused field is named, in order."""
    service.code = grpc.StatusCode.INVALID_ARGUMENT
    violations = [("request_id", "not a UUID"), ("image.quality_percent", "0 is not in 1..100")]
    service.trailers = rich(
        service.code,
        "no",
        BadRequest(
            field_violations=[
                BadRequest.FieldViolation(field=name, description=text) for name, text in violations
            ]
        ),
        ErrorInfo(reason="INVALID_REQUEST", domain="camsvc"),
    )
    info = refused(address)
    assert info.reason == "INVALID_REQUEST"
    assert info.retry_delay_s is None
    assert info.field_violations == tuple(FieldViolation(*pair) for pair in violations)


@pytest.mark.parametrize(
    "trailers",
    [
        (),
        (("grpc-status-details-bin", b"\xff not a message"),),
        rich(grpc.StatusCode.INTERNAL, "", ErrorInfo(reason="CAMERA_BUSY", domain="proxy.example")),
    ],
    ids=["bare", "garbled", "of another domain"],
)
def test_an_error_that_is_not_ours_has_no_reason(
    service: Refusing, address: str, trailers: Trailers
) -> None:
    """Code and message are there all the same."""
    service.code = grpc.StatusCode.INTERNAL
    service.trailers = trailers
    assert refused(address) == RpcErrorInfo(grpc.StatusCode.INTERNAL, None, "no")


def test_an_error_without_a_call_is_unknown() -> None:
    """An RpcError that carries nothing does not raise another error."""
    assert error_info(grpc.RpcError("odd")) == RpcErrorInfo(grpc.StatusCode.UNKNOWN, None, "odd")


def test_an_info_cannot_be_changed() -> None:
    """It can be handed on and compared."""
    with pytest.raises(AttributeError):
        BUSY_INFO.reason = "OTHER"  # type: ignore[misc]


def test_a_busy_camera_is_asked_again(service: Refusing, address: str) -> None:
    """The channel repeats the call as pushback says, and takes a picture over gRPC's default."""
    service.refusals = 4
    service.trailers = (*BUSY, ("grpc-retry-pushback-ms", "1"))
    assert len(capture(address).image_data) > 4 * 2**20
    assert service.calls == 5


def test_a_negative_pushback_ends_the_attempts(service: Refusing, address: str) -> None:
    """What cannot succeed is tried once."""
    service.trailers = BUSY + NEVER
    refused(address)
    assert service.calls == 1


def test_the_service_config_names_rpcs_that_exist() -> None:
    """A method misspelt there would silently never be retried."""
    (entry,) = json.loads(SERVICE_CONFIG)["methodConfig"]
    service = api.DESCRIPTOR.services_by_name["CameraService"]
    assert {name["service"] for name in entry["name"]} == {service.full_name}
    methods = [service.methods_by_name[name["method"]] for name in entry["name"]]
    assert not any(method.server_streaming for method in methods)


def test_the_receive_limit_can_be_chosen() -> None:
    """It ends up in the channel's options."""
    assert ("grpc.max_receive_message_length", 1000) in channel_options(max_receive_bytes=1000)
