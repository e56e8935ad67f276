"""What a client does with what is kept: lists, downloads, counts exposures."""

import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import RpcErrorInfo, error_info

from tests.support.service import CALL_S, Service

CHUNK_BYTES = 1 << 20
REFERENCE = api.CaptureRequest.DELIVERY_REFERENCE
WAIT = api.CaptureRequest.BUSY_POLICY_WAIT
PNG = pb.ImageOptions(format=pb.ImageOptions.FORMAT_PNG)
QUICK: dict[str, Any] = {"capture_duration_s": 0.01, "controls": {"exposure_duration_us": 100}}
"""Settings of a camera whose stills take hardly any time."""


@dataclass(frozen=True)
class Download:
    """A picture, or a part of it, as it came."""

    data: bytes
    chunks: tuple[int, ...]
    size_bytes: int
    sha256: str
    mime_type: str


async def download(service: Service, capture_id: str, **fields: Any) -> Download:
    """Download a picture; only the first message describes it, and none is too large."""
    request = api.DownloadImageRequest(capture_id=capture_id, **fields)
    messages = [message async for message in service.stub.DownloadImage(request, timeout=CALL_S)]
    return downloaded(messages)


def downloaded(messages: list[api.DownloadImageResponse]) -> Download:
    """Return what the messages of one download say together."""
    first = messages[0]
    for name in ("size_bytes", "sha256", "mime_type"):
        assert [m.HasField(name) for m in messages] == [m is first for m in messages]
    chunks = tuple(len(message.data) for message in messages)
    assert max(chunks) <= CHUNK_BYTES
    data = b"".join(message.data for message in messages)
    return Download(data, chunks, first.size_bytes, first.sha256, first.mime_type)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def page(service: Service, **filters: Any) -> api.ListCapturesResponse:
    """Return one page of captures."""
    return await service.stub.ListCaptures(api.ListCapturesRequest(**filters), timeout=CALL_S)


async def listed(service: Service, **filters: Any) -> list[pb.Capture]:
    """Return all captures that filters let through, newest first, page by page."""
    found: list[pb.Capture] = []
    token = ""
    while True:
        response = await page(service, page_token=token, **filters)
        found += response.captures
        token = response.next_page_token
        if not token:
            return found


async def described(service: Service, capture_id: str) -> pb.Capture:
    """Return one capture."""
    request = api.GetCaptureRequest(capture_id=capture_id)
    return (await service.stub.GetCapture(request, timeout=CALL_S)).capture


async def deleted(service: Service, capture_id: str) -> None:
    """Delete a capture."""
    request = api.DeleteCaptureRequest(capture_id=capture_id)
    await service.stub.DeleteCapture(request, timeout=CALL_S)


async def refusal(call: Awaitable[Any]) -> RpcErrorInfo:
    """Return the error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_info(caught.value)


def exposures(capture: pb.Capture) -> int:
    """Return how often the simulated camera's shutter had been pressed when this was taken."""
    (count,) = [c.value.int_value for c in capture.controls if c.name == "shutter_actuations"]
    return count


def data_files(folder: Path) -> list[str]:
    """Return the names of the files in a data folder that are, or may become, pictures."""
    places = [folder / name for name in ("captures", "staging", "orphans")]
    return sorted(f.name for place in places for f in place.rglob("*") if f.is_file())
