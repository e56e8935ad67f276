"""camapi.v1.CameraService, the part about cameras: a method looks up, calls, converts."""

from collections.abc import AsyncIterator

from camapi.v1 import camera_service_pb2 as api
from google.rpc import code_pb2, status_pb2

from camsvc.api import convert, history_convert, requests
from camsvc.api.errors import Context
from camsvc.api.history_service import HistoryCalls
from camsvc.camera.camera import Camera
from camsvc.camera.capture import CaptureResult
from camsvc.camera.group import GroupItem, Result, capture_group, skew_s
from camsvc.fleet import Fleet
from camsvc.live.viewer import LiveFrame
from camsvc.model.errors import CameraNotFound, InvalidRequest
from camsvc.model.records import CaptureRecord
from camsvc.storage.archive import Archive


class CameraService(HistoryCalls):
    """The contract on top of the fleet and the archive. Errors leave as exceptions."""

    def __init__(self, fleet: Fleet, archive: Archive, inline_limit_bytes: int) -> None:
        super().__init__(fleet, archive)
        self._inline_limit_bytes = inline_limit_bytes

    async def ListCameras(
        self, request: api.ListCamerasRequest, context: Context
    ) -> api.ListCamerasResponse:
        """Every configured camera, in the order of the settings."""
        return api.ListCamerasResponse(cameras=map(convert.camera, self._fleet.views()))

    async def GetCamera(
        self, request: api.GetCameraRequest, context: Context
    ) -> api.GetCameraResponse:
        """One camera as it is now."""
        return api.GetCameraResponse(camera=convert.camera(self._camera(request.camera).view()))

    async def Capture(  # type: ignore[override]  # see convert.with_bytes
        self, request: api.CaptureRequest, context: Context
    ) -> bytes:
        """Take a still."""
        actor = self._camera(request.camera)
        order = requests.order(request, self._inline_limit_bytes)
        taken = await actor.capture(order, context.time_remaining())
        response = api.CaptureResponse(
            capture=history_convert.capture(taken.record), replayed=taken.replayed
        )
        if not requests.delivers_inline(request):
            return response.SerializeToString()
        data = await self._inline(taken, order.inline_bytes)
        return convert.with_bytes(response, response.IMAGE_DATA_FIELD_NUMBER, data)

    async def CaptureGroup(
        self, request: api.CaptureGroupRequest, context: Context
    ) -> api.CaptureGroupResponse:
        """Take a still with each of several cameras at once."""
        orders = requests.group(request)
        outcomes: dict[str, Result] = {}
        members: dict[str, GroupItem] = {}
        for member, order in zip(request.requests, orders, strict=True):
            try:
                members[member.camera] = GroupItem(self._fleet.camera(member.camera), order)
            except CameraNotFound as error:
                outcomes[member.camera] = error
        taken = await capture_group(list(members.values()), context.time_remaining())
        outcomes |= dict(zip(members, taken, strict=True))
        response = api.CaptureGroupResponse(
            results=[
                history_convert.group_result(member.camera, outcomes[member.camera])
                for member in request.requests
            ]
        )
        skew = skew_s(taken)
        if skew is not None:
            response.acquisition_skew.CopyFrom(convert.duration(skew))
        return response

    async def LiveView(  # type: ignore[override]  # see convert.live_frame
        self, request: api.LiveViewRequest, context: Context
    ) -> AsyncIterator[bytes | api.LiveViewResponse]:
        """Show what the camera sees."""
        actor = self._camera(request.camera)
        with actor.watch(requests.live_spec(request)) as viewer:
            while True:
                item = await viewer.next()
                if isinstance(item, LiveFrame):
                    yield convert.live_frame(item, viewer.dropped)
                else:
                    yield convert.live_status(item)

    async def GetFrame(  # type: ignore[override]  # see convert.with_bytes
        self, request: api.GetFrameRequest, context: Context
    ) -> bytes:
        """One live frame."""
        actor = self._camera(request.camera)
        frame = await actor.get_frame(
            requests.live_spec(request), requests.max_age_s(request), context.time_remaining()
        )
        return convert.live_frame(frame, dropped=0)

    async def ListControls(
        self, request: api.ListControlsRequest, context: Context
    ) -> api.ListControlsResponse:
        """A camera's controls with their present values."""
        actor = self._camera(request.camera)
        controls = await actor.list_controls(context.time_remaining())
        return api.ListControlsResponse(controls=convert.controls(controls))

    async def SetControls(
        self, request: api.SetControlsRequest, context: Context
    ) -> api.SetControlsResponse:
        """Set controls, all or none."""
        actor = self._camera(request.camera)
        values = requests.controls(request.controls)
        if not values:
            raise InvalidRequest("controls", "none is given; allowed: from 1 to 64")
        controls = await actor.set_controls(values, context.time_remaining())
        return api.SetControlsResponse(controls=convert.controls(controls))

    async def ResetCamera(
        self, request: api.ResetCameraRequest, context: Context
    ) -> api.ResetCameraResponse:
        """Give a camera a new worker."""
        actor = self._camera(request.camera)
        await actor.reset()
        return api.ResetCameraResponse(camera=convert.camera(actor.view()))

    async def DiscoverCameras(
        self, request: api.DiscoverCamerasRequest, context: Context
    ) -> api.DiscoverCamerasResponse:
        """What is attached, by driver."""
        found = await self._fleet.discover()
        response = api.DiscoverCamerasResponse(devices=map(convert.device, found.devices))
        for driver, reason in found.failures.items():
            error = status_pb2.Status(code=code_pb2.UNAVAILABLE, message=reason)
            response.failures.add(driver=driver, error=error)
        return response

    async def _inline(self, taken: CaptureResult, limit: int) -> bytes:
        """Return a picture's bytes, if they may be sent inline."""
        assert taken.record.image is not None
        size = taken.record.image.size_bytes
        if size > limit:
            raise _too_large(taken.record, size, limit)
        return taken.data or await self._archive.read(taken.record.capture_id)

    def _camera(self, camera_id: str) -> Camera:
        return self._fleet.camera(requests.camera_id(camera_id))


def _too_large(record: CaptureRecord, size: int, limit: int) -> InvalidRequest:
    return InvalidRequest(
        "max_inline_bytes",
        f"the picture has {size} bytes and {limit} may be sent inline; it is kept as capture "
        f"{record.capture_id!r}: fetch it with DownloadImage, or raise max_inline_bytes and your "
        "client's receive limit, or ask for a smaller picture by image.max_width_px or "
        "image.quality_percent",
        metadata={
            "capture_id": record.capture_id,
            "size_bytes": str(size),
            "limit_bytes": str(limit),
        },
    )
