"""A picture is downloaded whole or from any place on, and as a thumbnail; large ones only so.

The tests share a service, which sends pictures inline only up to 1,000 bytes.
"""

import random
import re
from collections.abc import AsyncIterator
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
import pytest_asyncio
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from tests.support import noise
from tests.support.history import (
    CHUNK_BYTES,
    PNG,
    QUICK,
    REFERENCE,
    Download,
    deleted,
    described,
    download,
    exposures,
    listed,
    refusal,
    sha256,
)
from tests.support.scenes import camera
from tests.support.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

ID = "3f2a8c1e-5b7d-4e9f-8a6b-0c1d2e3f4a5b"
THUMBNAIL = api.DownloadImageRequest.VARIANT_THUMBNAIL
SEED = 4
LIMIT_BYTES = 1000
SIZES = {"wide": (1600, 1000), "high": (500, 1000), "small": (160, 120)}
THUMBNAIL_SIZES = {"wide": (320, 200), "high": (160, 320), "small": (160, 120)}
SETTINGS = (
    f"inline_limit_bytes = {LIMIT_BYTES}\n"
    + camera("noisy", **noise.SETTINGS)
    + "".join(camera(name, width_px=w, height_px=h, **QUICK) for name, (w, h) in SIZES.items())
    + "".join(camera(name, **QUICK) for name in ("plain", "by-request", "by-settings"))
    + camera("odd", driver="misdeeds:Misdeeds", env=noise.ENV)
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with Service(tmp_path_factory.mktemp("service"), SETTINGS) as service:
        yield service


async def test_a_large_picture_comes_in_chunks_and_whole(service: Service) -> None:
    capture = (await service.capture("noisy", delivery=REFERENCE, image=PNG)).capture
    image = capture.image
    assert image.size_bytes > 3 * CHUNK_BYTES
    whole = await download(service, capture.capture_id)
    assert sha256(whole.data) == whole.sha256 == image.sha256
    assert len(whole.data) == whole.size_bytes == image.size_bytes
    assert whole.mime_type == image.mime_type == "image/png"
    assert len(whole.chunks) == -(-image.size_bytes // CHUNK_BYTES), "no chunk is small for nothing"


@pytest.mark.parametrize("variant", [api.DownloadImageRequest.VARIANT_ORIGINAL, THUMBNAIL])
async def test_chunks_may_be_as_small_as_a_line_needs(
    service: Service, variant: api.DownloadImageRequest.Variant.ValueType
) -> None:
    capture_id = (await service.capture("wide", delivery=REFERENCE)).capture.capture_id
    small = await download(service, capture_id, variant=variant, max_chunk_bytes=1024)
    assert sha256(small.data) == small.sha256
    assert len(small.chunks) == -(-small.size_bytes // 1024) > 2
    assert set(small.chunks[:-1]) == {1024}


async def test_a_download_goes_on_at_any_place(service: Service) -> None:
    """What came before and what comes then are the picture, wherever the line was cut."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    capture_id = (await service.capture("noisy", delivery=REFERENCE, image=PNG)).capture.capture_id
    whole = await download(service, capture_id)
    size = whole.size_bytes
    exact = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, size - 1]
    for offset in [*exact, *(chance.randrange(size) for _ in range(10))]:
        rest = await download(service, capture_id, read_offset=offset)
        assert whole.data[:offset] + rest.data == whole.data
        assert (rest.size_bytes, rest.sha256) == (size, whole.sha256), "of the whole file"
    for _ in range(10):
        offset, limit = chance.randrange(size), chance.randrange(1, 2 * CHUNK_BYTES)
        part = await download(service, capture_id, read_offset=offset, read_limit=limit)
        assert part.data == whole.data[offset : offset + limit]
    for fields in ({"read_limit": size}, {"read_limit": 2**63 - 1}, {"part": 0}):
        assert (await download(service, capture_id, **fields)).data == whole.data
    for fields in ({}, {"read_limit": 7}):
        end = await download(service, capture_id, read_offset=size, **fields)
        assert end == Download(b"", (0,), size, whole.sha256, "image/png")


@pytest.mark.parametrize("name", SIZES)
async def test_a_thumbnail_is_a_jpeg_of_at_most_320_px(service: Service, name: str) -> None:
    for options in (pb.ImageOptions(), PNG):
        capture = (await service.capture(name, delivery=REFERENCE, image=options)).capture
        thumbnail = await download(service, capture.capture_id, variant=THUMBNAIL)
        assert thumbnail.mime_type == "image/jpeg"
        assert not decoders(service), "they run in a process of their own"
        assert sha256(thumbnail.data) == thumbnail.sha256 != capture.image.sha256
        assert len(thumbnail.data) == thumbnail.size_bytes
        pixels = cv2.imdecode(np.frombuffer(thumbnail.data, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert pixels.shape[1::-1] == THUMBNAIL_SIZES[name]
        again = await download(service, capture.capture_id, variant=THUMBNAIL, read_offset=100)
        assert thumbnail.data[:100] + again.data == thumbnail.data
        assert (again.size_bytes, again.sha256) == (thumbnail.size_bytes, thumbnail.sha256)
        await deleted(service, capture.capture_id)
        gone = await refusal(download(service, capture.capture_id, variant=THUMBNAIL))
        assert gone.reason == "CAPTURE_NOT_FOUND", "also the one that was made before"


def decoders(service: Service) -> set[str]:
    """Return the libraries for pictures that the service itself has loaded."""
    paths = {mapped.path for mapped in service.ps.memory_maps()}
    return {path for path in paths if re.search(r"/PIL/|/pillow|/cv2/|libjpeg|libpng", path)}


async def test_what_cannot_be_decoded_has_no_thumbnail_and_is_downloaded_all_the_same(
    service: Service,
) -> None:
    capture = (await service.capture("odd", delivery=REFERENCE)).capture
    info = await refusal(download(service, capture.capture_id, variant=THUMBNAIL))
    assert (info.code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED")
    assert info.metadata == {"camera": "odd", "capture_id": capture.capture_id}
    assert "image/jpeg" in info.message
    whole = await download(service, capture.capture_id)
    assert sha256(whole.data) == capture.image.sha256


async def test_by_reference_the_picture_is_not_sent_but_kept(service: Service) -> None:
    inline = await service.capture("plain", max_inline_bytes=10**6)
    reference = await service.capture("plain", delivery=REFERENCE, max_inline_bytes=1)
    assert inline.image_data
    assert not reference.image_data
    for capture in (inline.capture, reference.capture):
        assert capture == await described(service, capture.capture_id)
        picture = await download(service, capture.capture_id)
        assert sha256(picture.data) == capture.image.sha256
    assert (await download(service, inline.capture.capture_id)).data == inline.image_data


@pytest.mark.parametrize("by", ["request", "settings"])
async def test_a_picture_too_large_to_be_inline_is_kept_and_had_by_its_id(
    service: Service, by: str
) -> None:
    name, limit = (f"by-{by}", LIMIT_BYTES if by == "settings" else 999)
    fields: dict[str, Any] = {} if by == "settings" else {"max_inline_bytes": limit}
    for _ in range(2):  # the second one is the first one's picture
        info = await refusal(service.capture(name, request_id=ID, **fields))
        assert (info.code, info.reason) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_REQUEST",
        )
        assert [v.field for v in info.field_violations] == ["max_inline_bytes"]
        (capture,) = await listed(service, camera=name)
        size = capture.image.size_bytes
        assert info.metadata == {
            "camera": name,
            "capture_id": capture.capture_id,
            "size_bytes": str(size),
            "limit_bytes": str(limit),
        }
        for word in (capture.capture_id, str(size), str(limit), "DownloadImage"):
            assert word in info.message
    picture = await download(service, capture.capture_id)
    assert sha256(picture.data) == capture.image.sha256
    replayed = await service.capture(name, request_id=ID, delivery=REFERENCE)
    assert (replayed.replayed, replayed.image_data) == (True, b"")
    assert replayed.capture == capture
    roomier = await service.capture(name, request_id=ID, max_inline_bytes=size)
    assert (roomier.replayed, roomier.image_data) == (True, picture.data)
    assert exposures((await service.capture(name, delivery=REFERENCE)).capture) == 2
