"""Which calls are made again, until when, and who is told."""

import math
import subprocess
import sys
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import (
    NEVER,
    AsyncCameraClient,
    CameraBusy,
    CameraClient,
    DeadlineExceeded,
    Retried,
    Retry,
    ServiceFailed,
    ServiceUnreachable,
)
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from tests.clients.python import fake

GONE = "127.0.0.1:1"
"""Nothing listens there."""


class Busy:
    """A camera that is busy for so many calls."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.calls = 0

    async def capture(self, request: Any, context: fake.Context) -> api.CaptureResponse:
        self.calls += 1
        if self.calls <= self.times:
            status = Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message="busy")
            status.details.add().Pack(ErrorInfo(reason="CAMERA_BUSY", domain="camsvc"))
            status.details.add().Pack(RetryInfo(retry_delay=Duration(nanos=10**8)))
            context.set_trailing_metadata(
                (("grpc-status-details-bin", status.SerializeToString()),)
            )
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        return api.CaptureResponse()


@pytest.mark.parametrize("timeout", [None, math.inf, 30.0])
async def test_never_is_never(timeout: float | None) -> None:
    busy = Busy(times=1)
    async with fake.served(Capture=busy.capture) as address:
        async with AsyncCameraClient(address, retry=NEVER) as client:
            with pytest.raises(CameraBusy):
                await client.capture("sim0", timeout=timeout)
        assert busy.calls == 1
        async with AsyncCameraClient(address) as client:
            await client.capture("sim0", timeout=timeout)


async def test_never_ends_a_stream_too() -> None:
    async def one(request: Any, context: fake.Context) -> Any:
        yield api.LiveViewResponse(frame=pb.LiveFrame(sequence=1))

    async with (
        fake.served(LiveView=one) as address,
        AsyncCameraClient(address, retry=NEVER) as client,
    ):
        view = client.live_view("sim0")
        assert await anext(view)
        with pytest.raises(ServiceUnreachable, match="has ended the stream"):
            await anext(view)


async def test_who_wants_is_told_what_is_made_again_why_and_when() -> None:
    told: list[Retried] = []
    async with (
        fake.served(Capture=Busy(times=2).capture) as address,
        AsyncCameraClient(address, on_retry=told.append) as client,
    ):
        await client.capture("sim0")
    assert [(r.call, type(r.error), r.wait_s) for r in told] == [("Capture", CameraBusy, 0.1)] * 2
    assert told[1].elapsed_s >= told[0].elapsed_s + 0.1

    told.clear()
    retry = Retry(reconnect_s=0.3)
    async with AsyncCameraClient(GONE, retry=retry, on_retry=told.append) as client:
        view, events = client.live_view("sim0"), client.capture_events()
        await anext(view)  # says that it is unreachable
        for call in (client.list_cameras(), client.download_image("x"), anext(events)):
            with pytest.raises(ServiceUnreachable):
                await call
    calls = {r.call for r in told}
    assert calls == {"ListCameras", "DownloadImage", "LiveView", "CaptureEvents"}
    assert all(isinstance(r.error, ServiceUnreachable) and 0 < r.wait_s < 1 for r in told)


@pytest.mark.parametrize("timeout", [math.nan, -1.0, -math.inf])
async def test_a_time_out_that_is_none_is_refused(
    client: AsyncCameraClient, timeout: float
) -> None:
    for call in (
        client.list_cameras(timeout=timeout),
        client.capture("sim0", timeout=timeout),
        client.capture_group(["sim0"], timeout=timeout),
        client.download_image("x", timeout=timeout),
        client.reset_camera("sim0", timeout=timeout),
        anext(client.list_captures(timeout=timeout)),
    ):
        with pytest.raises(ValueError, match=r"timeout is (nan|-1|-inf) s; allowed: 0 and more"):
            await call
    with pytest.raises(ValueError, match="max_age_s is"):
        await client.get_frame("sim0", max_age_s=timeout)
    for wrong in (
        lambda: Retry(give_up_after_s=timeout),
        lambda: Retry(reconnect_s=timeout),
        lambda: AsyncCameraClient(silence_s=timeout),
    ):
        with pytest.raises(ValueError, match="allowed: "):
            wrong()


@pytest.mark.parametrize("timeout", [math.inf, 1e300, 1e12, 1e9, 10**7])
async def test_a_time_out_may_be_as_long_as_one_likes(
    client: AsyncCameraClient, timeout: float
) -> None:
    assert (await client.capture("sim0", timeout=timeout)).data
    assert [c async for c in client.list_captures(page_size=1, timeout=timeout)]


async def test_no_time_is_over_at_once(client: AsyncCameraClient) -> None:
    for timeout in (0, 5e-324):
        with pytest.raises(DeadlineExceeded):
            await client.capture("sim0", timeout=timeout)


async def test_an_error_is_a_text_of_bounded_length() -> None:
    async def talks(request: Any, context: fake.Context) -> api.ListCamerasResponse:
        await context.abort(grpc.StatusCode.INTERNAL, "too much " * 500)
        raise AssertionError

    async with fake.served(ListCameras=talks) as address, AsyncCameraClient(address) as client:
        with pytest.raises(ServiceFailed) as caught:
            await client.list_cameras()
    assert len(str(caught.value)) == 1000
    assert str(caught.value).startswith("too much")


BLOCKING = "from camsvc_client import CameraClient as C; C('127.0.0.1:1').list_cameras()"
ASYNCIO = (
    "import asyncio; from camsvc_client import AsyncCameraClient as C; "
    "asyncio.run(C('127.0.0.1:1').list_cameras())"
)


@pytest.mark.parametrize("use", [BLOCKING, ASYNCIO])
@pytest.mark.parametrize("patch", ["patch_all()", "patch_thread()", "patch_socket()"])
def test_under_gevent_there_is_an_error_at_once(use: str, patch: str) -> None:
    code = f"from gevent import monkey; monkey.{patch}; {use}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "RuntimeError: this process is patched by gevent, under which gRPC's" in done.stderr


def test_gevent_alone_does_no_harm(address: str) -> None:
    code = (
        "import gevent, gevent.monkey, sys; from camsvc_client import CameraClient\n"
        "with CameraClient(sys.argv[1]) as client: assert len(client.list_cameras()) == 2"
    )
    subprocess.run([sys.executable, "-c", code, address], timeout=60, check=True)


def test_the_blocking_client_refuses_and_tells_alike() -> None:
    told: list[Retried] = []
    with CameraClient(GONE, retry=Retry(reconnect_s=0.3), on_retry=told.append) as client:
        with pytest.raises(ValueError, match="timeout"):
            client.list_cameras(timeout=math.nan)
        with pytest.raises(ServiceUnreachable):
            client.list_cameras()
    assert told
