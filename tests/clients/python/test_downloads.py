"""Pictures are downloaded whole, however often the line is cut, and checked."""

import hashlib
import os
import time
from collections.abc import AsyncIterator

import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import (
    AsyncCameraClient,
    CaptureNotFound,
    DeadlineExceeded,
    ImageDamaged,
    ServiceUnreachable,
)

from tests.clients.python import bigcam, fake
from tests.clients.python.conftest import StartRig
from tests.conftest import StartService
from tests.support.proxy import Proxy
from tests.support.scenes import camera

SIZE_BYTES = 60 * 10**6


def big(size_bytes: int) -> str:
    return camera("big", driver=bigcam.DRIVER, env=bigcam.ENV, options={"size_bytes": size_bytes})


BIG, MIDDLE = big(SIZE_BYTES), big(20 * 10**6)


async def test_a_download_of_60_mb_goes_on_where_it_was_cut_at_half(
    start_service: StartService,
) -> None:
    service = await start_service(BIG)
    async with Proxy(service.address) as line, AsyncCameraClient(line.address) as client:
        capture = (await client.capture("big", fetch=False, timeout=60)).capture
        assert capture.image.size_bytes >= SIZE_BYTES
        told: list[tuple[int, int]] = []
        line.cut_next_reply(after_bytes=SIZE_BYTES // 2)
        started = time.monotonic()
        image = await client.download_image(
            capture.capture_id, on_progress=lambda *now: told.append(now), timeout=60
        )
        print(f"{len(image.data)} bytes in {time.monotonic() - started:.2f} s, {line.cuts} cut")
    assert line.cuts == 1
    assert hashlib.sha256(image.data).hexdigest() == capture.image.sha256
    received = [done for done, _ in told]
    assert received == sorted(set(received)), "nothing comes twice"
    assert told[-1] == (capture.image.size_bytes, capture.image.size_bytes)


async def test_a_line_that_is_cut_every_400_kb_still_brings_it(
    start_service: StartService,
) -> None:
    """Messages come whole or not at all: they get small enough to come through."""
    service = await start_service(big(4 * 10**6))
    async with Proxy(service.address) as line, AsyncCameraClient(line.address) as client:
        capture = (await client.capture("big", fetch=False, timeout=60)).capture
        line.cut_replies_every(400 * 10**3)
        image = await client.download_image(capture.capture_id)
    assert hashlib.sha256(image.data).hexdigest() == capture.image.sha256
    assert 10 <= line.cuts <= 40


async def test_a_picture_too_large_to_come_with_the_answer_is_downloaded(
    start_service: StartService,
) -> None:
    service = await start_service(MIDDLE)
    async with AsyncCameraClient(service.address) as client:
        picture = await client.capture("big", timeout=60)
        assert hashlib.sha256(picture.data).hexdigest() == picture.capture.image.sha256
        assert not picture.replayed
        (kept,) = [c async for c in client.list_captures()]
        assert kept == picture.capture, "it was taken once"


async def test_a_download_outlives_the_service(start_rig: StartRig) -> None:
    """Killed in the middle and started again: it goes on."""
    rig = await start_rig(MIDDLE)
    async with AsyncCameraClient(rig.address) as client:
        capture = (await client.capture("big", fetch=False, timeout=60)).capture
    async with Proxy(rig.address) as line, AsyncCameraClient(line.address) as client:
        line.cut_next_reply(after_bytes=5 * 10**6)
        await rig.kill()
        await rig.start()
        image = await client.download_image(capture.capture_id, timeout=60)
    assert hashlib.sha256(image.data).hexdigest() == capture.image.sha256


async def test_thumbnails_and_what_is_not_there(client: AsyncCameraClient) -> None:
    capture = (await client.capture("sim0", fetch=False)).capture
    thumbnail = await client.download_image(capture.capture_id, thumbnail=True)
    assert max(thumbnail.array().shape) <= 320
    with pytest.raises(CaptureNotFound):
        await client.download_image("nono")


async def test_damage_is_not_handed_on() -> None:
    """Wrong bytes, too few, or another file after a cut: no picture is made of them."""
    data = os.urandom(3000)
    good = hashlib.sha256(data).hexdigest()
    answers: list[list[api.DownloadImageResponse]] = []

    async def download(
        request: api.DownloadImageRequest, context: fake.Context
    ) -> AsyncIterator[api.DownloadImageResponse]:
        for response in answers[0]:
            yield response

    def head(sha256: str, sent: bytes) -> api.DownloadImageResponse:
        return api.DownloadImageResponse(
            data=sent, size_bytes=len(data), sha256=sha256, mime_type="image/jpeg"
        )

    async with fake.served(DownloadImage=download) as address, AsyncCameraClient(address) as client:
        for sent in (head("0" * 64, data), head(good, data[:-1]), api.DownloadImageResponse()):
            answers[:] = [[sent]]
            with pytest.raises(ImageDamaged, match="damaged"):
                await client.download_image("any", timeout=5)
        answers[:] = [[head(good, data)]]
        assert (await client.download_image("any")).data == data


async def test_a_download_ends_with_its_time_out_or_the_service(start_rig: StartRig) -> None:
    rig = await start_rig(MIDDLE)
    async with (
        AsyncCameraClient(rig.address, silence_s=120) as client,
        AsyncCameraClient(rig.address, silence_s=1.0) as wary,
    ):
        capture = (await client.capture("big", fetch=False, timeout=60)).capture
        await wary.list_cameras()
        rig.freeze()
        with pytest.raises(DeadlineExceeded):
            await client.download_image(capture.capture_id, timeout=0.5)
        with pytest.raises(ServiceUnreachable, match="does not answer"):
            await wary.download_image(capture.capture_id, timeout=120)
        rig.thaw()
        image = await client.download_image(capture.capture_id, timeout=30)
        assert len(image.data) == capture.image.size_bytes


async def test_a_picture_is_saved_whole_or_not_at_all(
    client: AsyncCameraClient, tmp_path: os.PathLike[str]
) -> None:
    picture = await client.capture("sim0")
    file = picture.save(os.path.join(tmp_path, "still.jpg"))
    assert file.read_bytes() == picture.data
    assert picture.capture.state == pb.Capture.STATE_SUCCEEDED
    with pytest.raises(OSError, match="nowhere"):
        picture.save(os.path.join(tmp_path, "nowhere", "still.jpg"))
    assert [f for f in os.listdir(tmp_path) if f.endswith((".jpg", ".part"))] == ["still.jpg"]
