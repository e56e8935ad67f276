"""Downloads in pieces: resumed where they were interrupted, checked when they are whole."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import aclosing

import grpc
from camapi.v1 import camera_service_pb2 as api

from camsvc_client.calls import Caller
from camsvc_client.channel import RpcErrorInfo
from camsvc_client.errors import ImageDamaged
from camsvc_client.images import Image
from camsvc_client.watchdog import ServiceSilent

OnProgress = Callable[[int, int], None]
"""Called with the bytes received, and the bytes in all."""

_MOST_CHUNK_BYTES, _LEAST_CHUNK_BYTES = 1 << 20, 1 << 14
"""The size of messages: smaller where the line is cut, as they come whole or not at all."""


class _Parts:
    """What was received so far."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._chunks: list[bytes] = []
        self._hash = hashlib.sha256()
        self._on_progress = on_progress
        self._described: tuple[int, str, str] | None = None
        self.received = 0

    def add(self, message: api.DownloadImageResponse) -> None:
        if message.HasField("sha256"):
            described = (message.size_bytes, message.sha256, message.mime_type)
            if self._described not in (None, described):
                raise _damaged("it is another file than before the connection was lost")
            self._described = described
        self._chunks.append(message.data)
        self._hash.update(message.data)
        self.received += len(message.data)
        if self._on_progress and self._described:
            self._on_progress(self.received, self._described[0])

    def image(self) -> Image:
        """Return the picture, checked."""
        if self._described is None:
            raise _damaged("the service sent no description")
        size, sha256, mime_type = self._described
        if self.received != size:
            raise _damaged(f"{self.received} bytes have come instead of {size}")
        if self._hash.hexdigest() != sha256:
            raise _damaged("its SHA-256 is not the one the service gave")
        return Image(b"".join(self._chunks), mime_type)


async def download(
    caller: Caller,
    request: api.DownloadImageRequest,
    *,
    timeout: float | None,
    on_progress: OnProgress | None,
) -> Image:
    """Fetch a picture.

    Raises:
        ImageDamaged: what came is not what the service has.
        CamsvcError: as `Caller.call`.
    """
    parts = _Parts(on_progress)
    schedule = caller.schedule(type(request), timeout)
    while True:
        before, begun = parts.received, False
        request.read_offset = before
        try:
            left_s = schedule.time_left_s()
            messages = caller.messages(lambda stub: stub.DownloadImage, request, left_s)
            async with aclosing(messages):
                async for message in messages:
                    begun = True
                    if message is not None:
                        parts.add(message)
            return parts.image()
        except (grpc.aio.AioRpcError, ServiceSilent) as raised:
            error = caller.error(raised, request, timeout)
            advanced = parts.received > before
            if advanced:
                schedule.reset()
            # Silence in the middle may be a broken connection; at once again, it is the service.
            silent = isinstance(raised, ServiceSilent) and not raised.answers_anew
            frozen = silent and not advanced
            wait = None if frozen else schedule.wait_s(error)
            if wait is None:
                raise error from raised
            if begun:
                chunk_bytes = request.max_chunk_bytes or _MOST_CHUNK_BYTES
                request.max_chunk_bytes = max(_LEAST_CHUNK_BYTES, chunk_bytes // 4)
        await asyncio.sleep(wait)


def _damaged(text: str) -> ImageDamaged:
    info = RpcErrorInfo(grpc.StatusCode.DATA_LOSS, None, f"the picture is damaged: {text}")
    return ImageDamaged(info)
