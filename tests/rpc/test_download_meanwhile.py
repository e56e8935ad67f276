"""What happens to a picture, or to its client, while it is downloaded."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from tests.support import noise
from tests.support.history import (
    PNG,
    REFERENCE,
    Download,
    data_files,
    deleted,
    download,
    downloaded,
    listed,
    refusal,
    sha256,
)
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

Rest = Callable[[], Awaitable[Download]]
LEAVERS = 30


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(folder: Path) -> AsyncIterator[Service]:
    async with Service(folder, camera("noisy", **noise.SETTINGS)) as service:
        yield service


@contextlib.asynccontextmanager
async def half_downloaded(service: Service, capture_id: str) -> AsyncIterator[Rest]:
    """Begin a download; give what reads the rest of it, which the service has not sent yet."""
    # Without its probes, gRPC lets no more than 64 KiB wait for a reader.
    options = [("grpc.http2.bdp_probe", 0)]
    async with grpc.aio.insecure_channel(service.address, options=options) as channel:
        request = api.DownloadImageRequest(capture_id=capture_id)
        call = CameraServiceStub(channel).DownloadImage(request, timeout=CALL_S)
        messages: list[api.DownloadImageResponse] = []

        async def read() -> bool:
            message = await call.read()
            if isinstance(message, api.DownloadImageResponse):
                messages.append(message)
                return True
            return False

        async def rest() -> Download:
            while await read():
                pass
            return downloaded(messages)

        assert await read()
        yield rest


async def test_a_picture_deleted_while_it_is_downloaded_is_sent_to_its_end(
    service: Service, folder: Path
) -> None:
    capture = (await service.capture("noisy", delivery=REFERENCE, image=PNG)).capture
    async with half_downloaded(service, capture.capture_id) as rest:
        await deleted(service, capture.capture_id)
        assert f"{capture.capture_id}.png" not in data_files(folder / "data")
        info = await refusal(download(service, capture.capture_id))
        assert info.reason == "CAPTURE_NOT_FOUND"
        got = await rest()
    assert sha256(got.data) == got.sha256 == capture.image.sha256


async def test_a_picture_that_retention_takes_while_it_is_downloaded_is_sent_to_its_end(
    tmp_path: Path,
) -> None:
    """There is room for two, whoever reads."""
    settings = f"[retention]\nmax_bytes = {12 * 10**6}\nmin_age_s = 0\n{camera(**noise.SETTINGS)}"
    async with Service(tmp_path, settings) as small:

        async def kept(*captures: pb.Capture) -> None:
            async def are() -> bool:
                return await listed(small) == list(captures)

            await until(are, f"{len(captures)} captures are kept, and no others")

        async def taken() -> pb.Capture:
            return (await small.capture(delivery=REFERENCE, image=PNG)).capture

        first, second = await taken(), await taken()
        await kept(second, first)
        async with half_downloaded(small, first.capture_id) as rest:
            third = await taken()
            await kept(third, second)
            assert f"{first.capture_id}.png" not in data_files(tmp_path / "data")
            got = await rest()
    assert sha256(got.data) == got.sha256 == first.image.sha256


async def test_a_client_that_leaves_in_the_middle_leaves_nothing_open(service: Service) -> None:
    """Thirty of them, each of whom holds the picture's file until then."""
    capture = (await service.capture("noisy", delivery=REFERENCE, image=PNG)).capture
    path = f"{capture.capture_id}.png"

    def held_open() -> int:
        return sum(file.path.endswith(path) for file in service.ps.open_files())

    async with contextlib.AsyncExitStack() as clients:
        for _ in range(LEAVERS):
            await clients.enter_async_context(half_downloaded(service, capture.capture_id))
        assert held_open() == LEAVERS

    async def closed() -> bool:
        return held_open() == 0

    await until(closed, "the picture's file is closed")
    whole = await download(service, capture.capture_id)
    assert sha256(whole.data) == capture.image.sha256
