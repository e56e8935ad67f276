"""The client for asyncio: a method for each RPC, in plain values.

Every method that waits for one answer takes `timeout`, in seconds, over all its attempts; None:
the service's own bounds hold. It raises `CamsvcError`: `errors` lists its kinds. When the service
falls silent, it ends within `silence_s`, whatever the time-out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Self
from weakref import WeakSet

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from camsvc_client import captures, live
from camsvc_client.aio_history import QUICK_S, HistoryCalls
from camsvc_client.calls import Caller
from camsvc_client.connection import ConnectionPool
from camsvc_client.images import Frame, Picture
from camsvc_client.retry import Retry, RetryOn
from camsvc_client.streams import Stream
from camsvc_client.target import Option, Target, Tls, Token
from camsvc_client.values import ControlValue, ImageFormat, Shot, WhenBusy, control_settings

DEFAULT_ADDRESS = "127.0.0.1:50051"

_DEFAULT_RETRY = Retry()


class AsyncCameraClient(HistoryCalls):
    """A camera service, for asyncio. Connects when first used. Use as `async with`, or `close` it.

    `address` is host:port. `tls` encrypts the connection. `token` goes with every call as a bearer
    token; a function is called for it each time. `retry` is for how long calls are made again.
    `silence_s` is how long the service may be silent while calls wait, in seconds: raise it on
    networks so slow that they are blocked for seconds. `options` are gRPC's channel options, in
    addition to or instead of ours.

    Raises:
        ValueError: the address is empty, or a token would travel unencrypted to another machine.

    Example:
        async with AsyncCameraClient("127.0.0.1:50051") as client:
            picture = await client.capture("sim0", timeout=30)
            picture.save("still.jpg")
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        tls: Tls | None = None,
        token: Token | None = None,
        retry: Retry = _DEFAULT_RETRY,
        silence_s: float = 4.0,
        options: Sequence[Option] = (),
    ) -> None:
        if silence_s <= 0:
            raise ValueError(f"silence_s is {silence_s:g}; allowed: above 0")
        self._target = Target(address, tls, token, tuple(options))
        self._caller = Caller(ConnectionPool(self._target, silence_s), retry)
        self._streams = WeakSet()

    @property
    def address(self) -> str:
        """Where the service is, as it was given."""
        return self._target.address

    async def close(self) -> None:
        """Close the connection; streams end, and calls under way are cancelled.

        May be called more than once.
        """
        for stream in list(self._streams):
            await stream.close()
        await self._caller.connections.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def list_cameras(self, *, timeout: float | None = QUICK_S) -> list[pb.Camera]:
        """List the configured cameras, in the order of the settings.

        Example:
            for camera in await client.list_cameras():
                print(camera.camera, pb.Camera.State.Name(camera.state))
        """
        response = await self._caller.call(
            lambda stub: stub.ListCameras, api.ListCamerasRequest(), timeout=timeout
        )
        return list(response.cameras)

    async def get_camera(self, camera: str, *, timeout: float | None = QUICK_S) -> pb.Camera:
        """Get a camera as it is now.

        Example:
            camera = await client.get_camera("sim0")
            print(camera.statistics.captures_succeeded)
        """
        request = api.GetCameraRequest(camera=camera)
        response = await self._caller.call(lambda stub: stub.GetCamera, request, timeout=timeout)
        return response.camera

    async def capture(
        self,
        camera: str,
        *,
        timeout: float | None = None,
        when_busy: WhenBusy = "retry",
        format: ImageFormat | None = None,
        quality_percent: int | None = None,
        max_width_px: int | None = None,
        max_height_px: int | None = None,
        controls: Mapping[str, ControlValue] | None = None,
        labels: Mapping[str, str] | None = None,
        request_id: str | None = None,
        fetch: bool = True,
    ) -> Picture:
        """Take a still.

        The shutter is pressed once however often the call is made again: it has a `request_id`,
        by default a new UUID. After an error, `error.request_id` asks for the same picture.
        `controls` are for this shot only. `fetch=False` leaves the picture with the service:
        `download_image` gets it. The other values are those of `Shot`.

        Example:
            picture = await client.capture(
                "sim0", timeout=30, controls={"focus_distance_diopters": 2.0}, labels={"row": "7"}
            )
            print(picture.save("still.jpg"), picture.capture.image.width_px)
        """
        shot = Shot(
            camera=camera,
            format=format,
            quality_percent=quality_percent,
            max_width_px=max_width_px,
            max_height_px=max_height_px,
            controls=controls or {},
            labels=labels or {},
        )
        request = shot.request()
        request.request_id = request_id or shot.request_id
        return await captures.take(
            self._caller, request, timeout=timeout, when_busy=when_busy, fetch=fetch
        )

    async def capture_group(
        self, shots: Iterable[str | Shot], *, timeout: float | None = None
    ) -> captures.Group:
        """Take a still with each of several cameras at the same moment.

        A camera that fails, or is busy, has an error in its place; the others have their pictures.
        The pictures stay with the service: `download_image` gets them.

        Example:
            group = await client.capture_group(["sim0", Shot(camera="sim1")], timeout=30)
            for capture in group.captures():  # raises when one has failed
                (await client.download_image(capture.capture_id)).save(f"{capture.camera}.jpg")
        """
        members = [Shot(camera=shot) if isinstance(shot, str) else shot for shot in shots]
        request = api.CaptureGroupRequest(requests=[shot.request() for shot in members])
        response = await self._caller.call(lambda stub: stub.CaptureGroup, request, timeout=timeout)
        return captures.Group.of(response, [shot.request_id for shot in members])

    def live_view(
        self,
        camera: str,
        *,
        max_fps: float | None = None,
        max_width_px: int | None = None,
        max_height_px: int | None = None,
        quality_percent: int | None = None,
    ) -> Stream[Frame | live.LiveStatus]:
        """Show what a camera sees: frames, and a status whenever there are none.

        Continues through stills, faults and restarts of the service, until closed; each frame is
        fresh, a reader that is too slow misses some. While the service cannot be
        reached, it yields the status UNREACHABLE about once a second. Raises only when the service
        refuses, or cannot be reached at the beginning for `retry.reconnect_s`.

        Example:
            async with client.live_view("sim0", max_width_px=640, max_fps=10) as view:
                async for item in view:
                    if isinstance(item, Frame):
                        print(f"frame {item.sequence}, {item.age_s * 1000:.0f} ms old")
                        break
                    print(item.state.name, item.reason)
        """
        request = api.LiveViewRequest(
            camera=camera,
            max_fps=max_fps,
            max_width_px=max_width_px,
            max_height_px=max_height_px,
            quality_percent=quality_percent,
        )
        own = ConnectionPool(self._target, self._caller.connections.silence_s, live_view=True)
        return self._tracked(Stream(live.live_view(Caller(own, self._caller.retry), request)))

    async def get_frame(
        self,
        camera: str,
        *,
        max_age_s: float | None = None,
        max_width_px: int | None = None,
        max_height_px: int | None = None,
        quality_percent: int | None = None,
        timeout: float | None = None,
    ) -> Frame:
        """Get one live frame: the next one, or with `max_age_s` the newest that is not older.

        Example:
            frame = await client.get_frame("sim0", max_age_s=0.5, timeout=10)
            frame.save("now.jpg")
        """
        request = api.GetFrameRequest(
            camera=camera,
            max_width_px=max_width_px,
            max_height_px=max_height_px,
            quality_percent=quality_percent,
        )
        if max_age_s is not None:
            request.max_age.FromNanoseconds(round(max_age_s * 1e9))
        response = await self._caller.call(lambda stub: stub.GetFrame, request, timeout=timeout)
        return Frame.of(response.frame)

    async def list_controls(self, camera: str, *, timeout: float | None = None) -> list[pb.Control]:
        """List a camera's controls, with their values and bounds. Opens the camera.

        Example:
            for control in await client.list_controls("sim0"):
                print(control.name, control_value(control.value), control.unit)
        """
        request = api.ListControlsRequest(camera=camera)
        response = await self._caller.call(lambda stub: stub.ListControls, request, timeout=timeout)
        return list(response.controls)

    async def set_controls(
        self, camera: str, controls: Mapping[str, ControlValue], *, timeout: float | None = None
    ) -> list[pb.Control]:
        """Set controls, all or none, until set again; return all of the camera's as they are now.

        Example:
            await client.set_controls("sim0", {"gain": 2.0, "exposure_duration_us": 20_000})
        """
        request = api.SetControlsRequest(camera=camera, controls=control_settings(controls))
        response = await self._caller.call(lambda stub: stub.SetControls, request, timeout=timeout)
        return list(response.controls)

    async def reset_camera(self, camera: str, *, timeout: float | None = None) -> pb.Camera:
        """Restart a camera, whatever it is doing; brings a faulted one back. Not repeated.

        Example:
            camera = await client.reset_camera("sim0")
        """
        request = api.ResetCameraRequest(camera=camera)
        response = await self._caller.call(
            lambda stub: stub.ResetCamera, request, timeout=timeout, retry_on=RetryOn.NOTHING
        )
        return response.camera

    async def discover_cameras(
        self, *, timeout: float | None = None
    ) -> api.DiscoverCamerasResponse:
        """Find out what is attached, by every driver that is installed.

        Example:
            for device in (await client.discover_cameras()).devices:
                print(device.driver, device.name, device.address)
        """
        request = api.DiscoverCamerasRequest()
        return await self._caller.call(lambda stub: stub.DiscoverCameras, request, timeout=timeout)
