"""camapi.v1.CameraService, the part about what is kept: events, captures, pictures."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from functools import partial

from camapi.v1 import camera_service_pb2 as api
from camapi.v1 import camera_service_pb2_grpc as api_grpc

from camsvc.api import convert, history_convert, history_requests, requests
from camsvc.api.errors import Context
from camsvc.fleet import Fleet
from camsvc.storage.archive import Archive
from camsvc.storage.thumbnails import MIME_TYPE, Thumbnails

_CHUNK_BYTES = 1 << 20


class HistoryCalls(api_grpc.CameraServiceServicer):
    """The contract on top of the archive. Errors leave as exceptions; see `status`."""

    def __init__(self, fleet: Fleet, archive: Archive) -> None:
        self._fleet = fleet
        self._archive = archive
        self._thumbnails = Thumbnails(archive)
        self._wires = history_convert.EventWires()

    async def CaptureEvents(  # type: ignore[override]  # see convert.with_bytes
        self, request: api.CaptureEventsRequest, context: Context
    ) -> AsyncIterator[bytes]:
        """Every step of every capture."""
        if request.camera:
            self._fleet.camera(requests.camera_id(request.camera))
        after = history_requests.after_sequence(request, self._archive.last_sequence)
        # At once, so that the reader knows that it misses nothing from here on.
        await context.send_initial_metadata(())
        async with contextlib.aclosing(self._archive.follow(request.camera, after)) as items:
            async for item in items:
                yield self._wires.get(item)

    async def ListCaptures(
        self, request: api.ListCapturesRequest, context: Context
    ) -> api.ListCapturesResponse:
        """Captures, newest first."""
        chosen = history_requests.chosen(request)
        size = history_requests.page_size(request)
        secret = await self._archive.secret()
        before = history_requests.position(request.page_token, chosen, secret)
        # One more tells whether there is a next page.
        found = await self._archive.page(chosen, before=before, limit=size + 1)
        if not found and chosen.camera and before is None:
            self._fleet.camera(chosen.camera)
        response = api.ListCapturesResponse(
            captures=[history_convert.capture(record) for _, record in found[:size]]
        )
        if len(found) > size:
            response.next_page_token = history_requests.page_token(
                found[size - 1][0], chosen, secret
            )
        return response

    async def GetCapture(
        self, request: api.GetCaptureRequest, context: Context
    ) -> api.GetCaptureResponse:
        """One capture, in whatever state."""
        record = await self._archive.capture(history_requests.capture_id(request.capture_id))
        return api.GetCaptureResponse(capture=history_convert.capture(record))

    async def DeleteCapture(
        self, request: api.DeleteCaptureRequest, context: Context
    ) -> api.DeleteCaptureResponse:
        """Delete a capture with its picture."""
        await self._archive.delete(history_requests.capture_id(request.capture_id))
        return api.DeleteCaptureResponse()

    async def DownloadImage(  # type: ignore[override]  # see convert.with_bytes
        self, request: api.DownloadImageRequest, context: Context
    ) -> AsyncIterator[bytes]:
        """Send a picture, or a part of it, in chunks."""
        capture_id = history_requests.capture_id(request.capture_id)
        if history_requests.wants_thumbnail(request):
            data = await self._thumbnails.get(capture_id)
            wanted = history_requests.byte_range(request, len(data))
            head = api.DownloadImageResponse(
                size_bytes=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                mime_type=MIME_TYPE,
            )
            yield _chunk(head, data[wanted.start : wanted.stop])
            return
        part = partial(history_requests.part, request)
        async with await self._archive.open_image(capture_id, part) as picture:
            image = picture.image
            wanted = history_requests.byte_range(request, image.size_bytes)
            head = api.DownloadImageResponse(
                size_bytes=image.size_bytes, sha256=image.sha256, mime_type=image.mime_type
            )
            # Once even when there is nothing to send: it describes the file.
            for start in range(wanted.start, max(wanted.stop, wanted.start + 1), _CHUNK_BYTES):
                size = min(_CHUNK_BYTES, wanted.stop - start)
                yield _chunk(head, await picture.read(start, size))
                head = api.DownloadImageResponse()


def _chunk(head: api.DownloadImageResponse, data: bytes) -> bytes:
    return convert.with_bytes(head, api.DownloadImageResponse.DATA_FIELD_NUMBER, data)
