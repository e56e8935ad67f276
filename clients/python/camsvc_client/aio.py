"""The client for asyncio: a method for each RPC, in plain values.

Every method that waits for one answer takes `timeout`, in seconds, over all its attempts; None or
infinity: the service's own bounds hold. One that is negative or not a number is a ValueError. They
raise `CamsvcError`: `errors` lists its kinds. When the service falls silent, they end within
`silence_s`, whatever the time-out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self, TypeVar
from weakref import WeakSet

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from camsvc_client import captures, download, events, live
from camsvc_client.calls import Caller
from camsvc_client.connection import ConnectionPool
from camsvc_client.images import Frame, Image, Picture
from camsvc_client.retry import OnRetry, Retry, RetryOn, check_seconds
from camsvc_client.streams import Mark, Stream
from camsvc_client.target import Option, Target, Tls, Token
from camsvc_client.values import (
    CaptureState,
    ControlValue,
    ImageFormat,
    Shot,
    WhenBusy,
    control_settings,
    state_values,
    timestamp,
)

S = TypeVar("S", bound=Stream[Any])

DEFAULT_ADDRESS = "127.0.0.1:50051"

QUICK_S = 10.0
"""Time-out of calls that touch no device; they take milliseconds."""

_DEFAULT_RETRY = Retry()


class AsyncCameraClient:
    """A camera service, for asyncio. Connects when first used. Use as `async with`, or `close` it.

    `address` is host:port. `tls` encrypts the connection. `token` goes with every call as a bearer
    token; a function is called for it each time. `retry` is for how long calls are made again.
    `silence_s` is how long the service may be silent while calls wait, in seconds: raise it on
    networks so slow that they are blocked for seconds. `on_retry` is called with each attempt that
    has failed and is made again; what it raises ends the call. `http_proxy` connects through the
    proxy that `http_proxy` names in the environment. `options` are gRPC's channel options, in
    addition to or instead of ours.

    Raises:
        ValueError: the address is empty, a token would travel unencrypted to another machine, or
            `silence_s` is not above 0.

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
        on_retry: OnRetry | None = None,
        http_proxy: bool = False,
        options: Sequence[Option] = (),
    ) -> None:
        if not silence_s > 0:
            raise ValueError(f"silence_s is {silence_s:g}; allowed: above 0")
        self._target = Target(address, tls, token, http_proxy, tuple(options))
        self._caller = Caller(ConnectionPool(self._target, silence_s), retry, on_retry)
        # Streams that may still be read: closed with the client.
        self._streams = WeakSet[Stream[Any]]()

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
        caller = Caller(own, self._caller.retry, self._caller.on_retry)
        return self._tracked(Stream(live.live_view(caller, request)))

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
        check_seconds("max_age_s", max_age_s)
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

    def capture_events(
        self,
        camera: str | None = None,
        *,
        after_sequence: int | None = None,
        on_connection: events.OnConnection | None = None,
    ) -> events.EventStream:
        """Follow what happens to captures, of one camera or of all; none is missed or repeated.

        Begins after the event of that number (0: with the oldest there is), by default with the
        next one to come: inside `async with` none is missed. Continues through restarts of the
        service; `on_connection` is called with the error when the connection is lost, and with
        None when it is back.

        Raises, on reading:
            EventsMissed: the history after `after_sequence` is no longer kept.

        Example:
            async with client.capture_events("sim0") as events:
                await client.capture("sim0", timeout=30)
                async for event in events:
                    print(event.sequence, pb.CaptureEvent.Type.Name(event.type))
                    if event.type == pb.CaptureEvent.TYPE_SUCCEEDED:
                        break
        """
        return self._tracked(
            events.EventStream(self._caller, camera or "", after_sequence, on_connection)
        )

    def list_captures(
        self,
        camera: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        states: Iterable[CaptureState] = (),
        page_size: int = 0,
        timeout: float | None = QUICK_S,
    ) -> Stream[pb.Capture]:
        """List the captures that are kept, newest first; pages are fetched when needed.

        They are those of the camera, with all of the labels, created in [since, until), in one of
        the states. `timeout` is for each page.

        Raises:
            ValueError: a time has no time zone.

        Example:
            async for capture in client.list_captures("sim0", states=["succeeded"]):
                print(capture.capture_id, capture.image.size_bytes)
        """
        request = api.ListCapturesRequest(
            camera=camera or "",
            labels=dict(labels or {}),
            start_time=timestamp(since),
            end_time=timestamp(until),
            states=state_values(states),
            page_size=page_size,
        )
        return self._tracked(Stream(self._pages(request, timeout)))

    async def _pages(
        self, request: api.ListCapturesRequest, timeout: float | None
    ) -> AsyncGenerator[pb.Capture | Mark, None]:
        yield Mark.READY
        while True:
            page = await self._caller.call(lambda stub: stub.ListCaptures, request, timeout=timeout)
            for capture in page.captures:
                yield capture
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def get_capture(self, capture_id: str, *, timeout: float | None = QUICK_S) -> pb.Capture:
        """Get one capture, in whatever state.

        Example:
            print((await client.get_capture(capture_id)).image.sha256)
        """
        request = api.GetCaptureRequest(capture_id=capture_id)
        response = await self._caller.call(lambda stub: stub.GetCapture, request, timeout=timeout)
        return response.capture

    async def delete_capture(self, capture_id: str, *, timeout: float | None = QUICK_S) -> None:
        """Delete a capture with its pictures.

        After `ServiceUnreachable` it may be gone: asking again then raises `CaptureNotFound`.

        Example:
            await client.delete_capture(capture_id)
        """
        request = api.DeleteCaptureRequest(capture_id=capture_id)
        await self._caller.call(
            lambda stub: stub.DeleteCapture,
            request,
            timeout=timeout,
            retry_on=RetryOn.BUSY | RetryOn.UNAVAILABLE,
        )

    async def download_image(
        self,
        capture_id: str,
        *,
        thumbnail: bool = False,
        part: int = 0,
        on_progress: download.OnProgress | None = None,
        timeout: float | None = None,
    ) -> Image:
        """Fetch a picture, or a JPEG of at most 320 pixels of it; checked by its SHA-256.

        Resumes where a lost connection has interrupted it. `part` chooses a file of a capture that
        has several (`Capture.parts`). `on_progress` is called with the bytes received and the
        bytes in all.

        Raises:
            ImageDamaged: what came is not what the service has.

        Example:
            image = await client.download_image(capture_id, on_progress=print)
            image.save("still.jpg")
        """
        variants = api.DownloadImageRequest
        request = api.DownloadImageRequest(
            capture_id=capture_id,
            variant=variants.VARIANT_THUMBNAIL if thumbnail else variants.VARIANT_ORIGINAL,
            part=part or None,
        )
        return await download.download(
            self._caller, request, timeout=timeout, on_progress=on_progress
        )

    def _tracked(self, stream: S) -> S:
        self._streams.add(stream)
        return stream
