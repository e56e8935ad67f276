"""camapi.v1.CameraService: a method looks up, calls, converts."""

from collections.abc import AsyncIterator

from camapi.v1 import camera_service_pb2 as api
from camapi.v1 import camera_service_pb2_grpc as api_grpc
from google.rpc import code_pb2, status_pb2

from camsvc.camera import CameraActor, CaptureResult
from camsvc.errors import InvalidRequest, Unsupported
from camsvc.fleet import Fleet
from camsvc.rpc import convert, requests
from camsvc.rpc.status import Context
from camsvc.viewer import LiveFrame


class CameraService(api_grpc.CameraServiceServicer):
    """The contract on top of the fleet. Errors leave as exceptions; see `status`.

    Calls of the contract that are not here are answered UNIMPLEMENTED by the generated base.
    """

    def __init__(self, fleet: Fleet, inline_limit_bytes: int) -> None:
        self._fleet = fleet
        self._inline_limit_bytes = inline_limit_bytes

    async def ListCameras(
        self, request: api.ListCamerasRequest, context: Context
    ) -> api.ListCamerasResponse:
        """Every configured camera, in the order of the settings."""
        cameras = self._fleet.cameras.values()
        return api.ListCamerasResponse(cameras=[convert.camera(actor) for actor in cameras])

    async def GetCamera(
        self, request: api.GetCameraRequest, context: Context
    ) -> api.GetCameraResponse:
        """One camera as it is now."""
        return api.GetCameraResponse(camera=convert.camera(self._camera(request.camera)))

    async def Capture(  # type: ignore[override]  # see convert.with_bytes
        self, request: api.CaptureRequest, context: Context
    ) -> bytes:
        """Take a still."""
        actor = self._camera(request.camera)
        shot = requests.shot(request)
        wait = requests.waits(request)
        limit = requests.inline_limit(request, self._inline_limit_bytes)
        _refuse_reference(request)
        result = await actor.capture(
            shot,
            request_id=requests.request_id(request.request_id),
            labels=requests.labels(request.labels),
            wait=wait,
            timeout_s=context.time_remaining(),
        )
        if len(result.data) > limit:
            raise _too_large(result, limit)
        response = api.CaptureResponse(capture=convert.capture(result))
        return convert.with_bytes(response, response.IMAGE_DATA_FIELD_NUMBER, result.data)

    async def LiveView(  # type: ignore[override]  # see convert.live_frame
        self, request: api.LiveViewRequest, context: Context
    ) -> AsyncIterator[bytes | api.LiveViewResponse]:
        """Show what the camera sees."""
        actor = self._camera(request.camera)
        viewer = actor.live.watch(requests.live_spec(request))
        try:
            while True:
                item = await viewer.next()
                if isinstance(item, LiveFrame):
                    yield convert.live_frame(item, viewer.dropped)
                    actor.live.statistics.sent_total += 1
                else:
                    yield convert.live_status(item)
        finally:
            viewer.leave()

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
        return api.ResetCameraResponse(camera=convert.camera(actor))

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

    def _camera(self, camera_id: str) -> CameraActor:
        return self._fleet.camera(requests.camera_id(camera_id))


def _too_large(result: CaptureResult, limit: int) -> InvalidRequest:
    size = len(result.data)
    return InvalidRequest(
        "max_inline_bytes",
        f"the picture has {size} bytes and {limit} may be sent inline; raise max_inline_bytes "
        "and your client's receive limit, or ask for a smaller picture by image.max_width_px "
        "or image.quality_percent",
        metadata={
            "capture_id": result.capture_id,
            "size_bytes": str(size),
            "limit_bytes": str(limit),
        },
    )


def _refuse_reference(request: api.CaptureRequest) -> None:
    known = api.CaptureRequest.Delivery
    if request.delivery not in known.values():
        raise InvalidRequest(
            "delivery",
            f"{request.delivery} is no delivery; allowed: DELIVERY_INLINE, DELIVERY_REFERENCE",
        )
    if request.delivery == known.DELIVERY_REFERENCE:
        raise Unsupported(
            "DELIVERY_REFERENCE is not to be had, as this version keeps no pictures; allowed: "
            "DELIVERY_INLINE"
        )
