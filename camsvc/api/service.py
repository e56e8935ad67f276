"""camapi.v1.CameraService without a transport: a method looks up, calls, converts."""

import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from camsvc.api import convert, history_convert, history_requests, requests
from camsvc.api.violations import checking
from camsvc.camera.camera import Camera
from camsvc.camera.group import GroupItem, Result, capture_group, skew_s
from camsvc.fleet import Fleet
from camsvc.live.viewer import LiveFrame, Viewer
from camsvc.model.caller import Caller
from camsvc.model.errors import CameraNotFound, InvalidRequest
from camsvc.model.places import Places
from camsvc.storage.archive import Archive
from camsvc.storage.ports import Thumbnailer
from camsvc.storage.thumbnails import MIME_TYPE, Thumbnails

DESCRIPTOR = api.DESCRIPTOR.services_by_name["CameraService"]

_PAGE_BYTES = 1 << 20
"""What a page of captures may take: a client takes 4 MiB at once, unless it says otherwise."""

Reply = Message | bytes
"""A message of the contract, or its wire form where that saves copies of a picture."""

Replies = AsyncIterator[Reply]


class CameraService:
    """The contract on top of the fleet and the archive: a method for each RPC, in snake case.

    A unary method takes the request, who calls, and the seconds left until the caller's deadline,
    None without one, and returns a `Reply`. A streaming method takes the request and who calls, and
    is an async context manager: once entered, the call is accepted; what it gives yields the
    replies; leaving it ends the work. Errors are raised as `CameraServiceError`; `errors` makes
    statuses of them.
    """

    def __init__(
        self,
        fleet: Fleet,
        archive: Archive,
        thumbnailer: Thumbnailer,
        *,
        inline_limit_bytes: int,
        max_downloads: int,
    ) -> None:
        self._fleet = fleet
        self._archive = archive
        self._inline_limit_bytes = inline_limit_bytes
        self._thumbnails = Thumbnails(archive, thumbnailer)
        self._events = history_convert.SerializedEvents()
        self._downloads = Places(max_downloads, "downloads are under way", "max_downloads")

    async def list_cameras(
        self, request: api.ListCamerasRequest, caller: Caller, timeout_s: float | None
    ) -> Reply:
        return api.ListCamerasResponse(cameras=map(convert.camera, self._fleet.views()))

    async def get_camera(
        self, request: api.GetCameraRequest, caller: Caller, timeout_s: float | None
    ) -> Reply:
        return api.GetCameraResponse(camera=convert.camera(self._camera(request.camera).view()))

    async def capture(
        self, request: api.CaptureRequest, caller: Caller, timeout_s: float | None
    ) -> Reply:
        with checking() as wrong:
            order = requests.order(request, caller, self._inline_limit_bytes, wrong)
        result = await self._fleet.camera(request.camera).capture(order, timeout_s)
        response = api.CaptureResponse(
            capture=history_convert.capture(result.record), replayed=result.replayed
        )
        if not order.inline_bytes:
            return response
        if response.capture.image.size_bytes > order.inline_bytes:
            raise _too_large(response, order.inline_bytes)
        data = result.data or await self._archive.read(result.record.capture_id)
        return convert.with_bytes(response, response.IMAGE_DATA_FIELD_NUMBER, data)

    async def capture_group(
        self, request: api.CaptureGroupRequest, caller: Caller, timeout_s: float | None
    ) -> Reply:
        with checking() as wrong:
            orders = requests.group(request, caller, wrong)
        results: dict[str, Result] = {}
        items: dict[str, GroupItem] = {}
        for each, order in zip(request.requests, orders, strict=True):
            try:
                items[each.camera] = (self._fleet.camera(each.camera), order)
            except CameraNotFound as error:
                results[each.camera] = error
        captured = await capture_group(list(items.values()), timeout_s)
        results |= dict(zip(items, captured, strict=True))
        response = api.CaptureGroupResponse(
            results=[
                history_convert.group_result(each.camera, results[each.camera])
                for each in request.requests
            ]
        )
        skew = skew_s(captured)
        if skew is not None:
            response.acquisition_skew.CopyFrom(convert.duration(skew))
        return response

    @contextlib.asynccontextmanager
    async def live_view(
        self, request: api.LiveViewRequest, caller: Caller
    ) -> AsyncIterator[Replies]:
        with checking() as wrong:
            requests.camera_id(request.camera, wrong)
            spec = requests.live_spec(request, wrong)
        with self._fleet.camera(request.camera).watch(spec, caller) as viewer:
            async with contextlib.aclosing(_live_replies(viewer)) as replies:
                yield replies

    async def get_frame(
        self, request: api.GetFrameRequest, caller: Caller, timeout_s: float | None
    ) -> Reply:
        with checking() as wrong:
            requests.camera_id(request.camera, wrong)
            spec = requests.live_spec(request, wrong)
            max_age_s = requests.max_age_s(request, wrong)
        frame = await self._fleet.camera(request.camera).get_frame(spec, max_age_s, timeout_s)
        return convert.live_frame(frame, dropped=0)

    @contextlib.asynccontextmanager
    async def capture_events(
        self, request: api.CaptureEventsRequest, caller: Caller
    ) -> AsyncIterator[Replies]:
        with checking() as wrong:
            if request.camera:
                requests.camera_id(request.camera, wrong)
            last = self._archive.events.last_sequence
            after = history_requests.after_sequence(request, last, wrong)
        if request.camera:
            self._fleet.camera(request.camera)
        async with contextlib.aclosing(self._archive.events.follow(request.camera, after)) as items:
            yield (self._events.serialize(item) async for item in items)

    async def list_captures(
        self, request: api.ListCapturesRequest, caller: Caller, timeout_s: float | None
    ) -> Reply:
        secret = await self._archive.secret()
        with checking() as wrong:
            captures = history_requests.captures_filter(request, wrong)
            before = None
            if not wrong:  # a token goes with its filters
                before = history_requests.position(request.page_token, captures, secret, wrong)
            size = history_requests.page_size(request, wrong)
        found, more = await self._archive.page(
            captures, before=before, limit=size, max_bytes=_PAGE_BYTES
        )
        if not found and captures.camera and before is None:
            self._fleet.camera(captures.camera)
        page: list[pb.Capture] = []
        left = _PAGE_BYTES
        for _, record in found:
            page.append(history_convert.capture(record))
            left -= page[-1].ByteSize()
            if left < 0 and len(page) > 1:
                del page[-1]
                break
        response = api.ListCapturesResponse(captures=page)
        if more or len(page) < len(found):
            last, _ = found[len(page) - 1]
            response.next_page_token = history_requests.page_token(last, captures, secret)
        return response

    async def get_capture(
        self, request: api.GetCaptureRequest, caller: Caller, timeout_s: float | None
    ) -> Reply:
        with checking() as wrong:
            history_requests.capture_id(request.capture_id, wrong)
        record = await self._archive.capture(request.capture_id)
        return api.GetCaptureResponse(capture=history_convert.capture(record))

    async def delete_capture(
        self, request: api.DeleteCaptureRequest, caller: Caller, timeout_s: float | None
    ) -> Reply:
        with checking() as wrong:
            history_requests.capture_id(request.capture_id, wrong)
        await self._archive.delete(request.capture_id)
        return api.DeleteCaptureResponse()

    @contextlib.asynccontextmanager
    async def download_image(
        self, request: api.DownloadImageRequest, caller: Caller
    ) -> AsyncIterator[Replies]:
        with checking() as wrong:
            history_requests.check_download(request, wrong)
        async with (
            self._downloads.place(caller),
            self._opened(request) as chunks,
            contextlib.aclosing(chunks),
        ):
            yield chunks

    @contextlib.asynccontextmanager
    async def _opened(
        self, request: api.DownloadImageRequest
    ) -> AsyncIterator[AsyncGenerator[Reply, None]]:
        """Give the chunks of a picture, or of its thumbnail."""
        capture_id = request.capture_id
        chunk_bytes = history_requests.chunk_bytes(request)
        if history_requests.wants_thumbnail(request):
            data = await self._thumbnails.get(capture_id)
            description = api.DownloadImageResponse(
                size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), mime_type=MIME_TYPE
            )
            chosen = history_requests.byte_range(request, len(data))

            async def read(start: int, size: int) -> bytes:
                return data[start : start + size]

            yield _chunks(description, chosen, read, chunk_bytes)
            return
        part = partial(history_requests.part, request)
        async with self._archive.open_image(capture_id, part) as picture:
            image = picture.image
            description = api.DownloadImageResponse(
                size_bytes=image.size_bytes, sha256=image.sha256, mime_type=image.mime_type
            )
            chosen = history_requests.byte_range(request, image.size_bytes)
            yield _chunks(description, chosen, picture.read, chunk_bytes)

    async def list_controls(
        self, request: api.ListControlsRequest, caller: Caller, timeout_s: float | None
    ) -> Reply:
        controls = await self._camera(request.camera).list_controls(timeout_s, caller)
        return api.ListControlsResponse(controls=map(convert.control, controls))

    async def set_controls(
        self, request: api.SetControlsRequest, caller: Caller, timeout_s: float | None
    ) -> Reply:
        with checking() as wrong:
            requests.camera_id(request.camera, wrong)
            values = requests.controls(request.controls, wrong)
        camera = self._fleet.camera(request.camera)
        if not values:
            raise InvalidRequest("controls", "none is given; allowed: from 1 to 64")
        controls = await camera.set_controls(values, timeout_s, caller)
        return api.SetControlsResponse(controls=map(convert.control, controls))

    async def reset_camera(
        self, request: api.ResetCameraRequest, caller: Caller, timeout_s: float | None
    ) -> Reply:
        camera = self._camera(request.camera)
        await camera.reset()
        return api.ResetCameraResponse(camera=convert.camera(camera.view()))

    async def discover_cameras(
        self, request: api.DiscoverCamerasRequest, caller: Caller, timeout_s: float | None
    ) -> Reply:
        found = await self._fleet.discover()
        response = api.DiscoverCamerasResponse(devices=map(convert.device, found.devices))
        for driver, reason in found.failures.items():
            error = status_pb2.Status(code=code_pb2.UNAVAILABLE, message=reason)
            response.failures.add(driver=driver, error=error)
        return response

    def end_streams(self) -> None:
        """End the streams that would not end by themselves, as the service stops."""
        self._fleet.announce_stop()
        self._archive.events.end()

    def _camera(self, camera_id: str) -> Camera:
        with checking() as wrong:
            requests.camera_id(camera_id, wrong)
        return self._fleet.camera(camera_id)


async def _live_replies(viewer: Viewer) -> AsyncGenerator[Reply, None]:
    while True:
        item = await viewer.next()
        if isinstance(item, LiveFrame):
            yield convert.live_frame(item, viewer.dropped)
        else:
            yield convert.live_status(item)


async def _chunks(
    description: api.DownloadImageResponse,
    chosen: range,
    read: Callable[[int, int], Awaitable[bytes]],
    chunk_bytes: int,
) -> AsyncGenerator[Reply, None]:
    """Yield a file's bytes, once even when there are none: the first chunk describes the file."""
    head = description
    for start in range(chosen.start, max(chosen.stop, chosen.start + 1), chunk_bytes):
        size = min(chunk_bytes, chosen.stop - start)
        yield _chunk(head, await read(start, size))
        head = api.DownloadImageResponse()


def _chunk(head: api.DownloadImageResponse, data: bytes) -> bytes:
    return convert.with_bytes(head, head.DATA_FIELD_NUMBER, data)


def _too_large(response: api.CaptureResponse, limit: int) -> InvalidRequest:
    capture_id, size = response.capture.capture_id, response.capture.image.size_bytes
    return InvalidRequest(
        "max_inline_bytes",
        f"the picture has {size} bytes and {limit} may be sent inline; it is kept as capture "
        f"{capture_id!r}: fetch it with DownloadImage, or raise max_inline_bytes and your "
        "client's receive limit, or ask for a smaller picture by image.max_width_px or "
        "image.quality_percent",
        metadata={"capture_id": capture_id, "size_bytes": str(size), "limit_bytes": str(limit)},
    )
