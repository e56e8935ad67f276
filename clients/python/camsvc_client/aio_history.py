"""The asynchronous client's methods for what the service keeps: events, captures, pictures."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from weakref import WeakSet

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from camsvc_client import download, events
from camsvc_client.calls import Caller
from camsvc_client.images import Image
from camsvc_client.retry import RetryOn
from camsvc_client.streams import Mark, Stream
from camsvc_client.values import CaptureState, state_values, timestamp

S = TypeVar("S", bound=Stream[Any])

QUICK_S = 10.0
"""Time-out of calls that touch no device; they take milliseconds."""


class HistoryCalls:
    """The methods; see `AsyncCameraClient`."""

    _caller: Caller
    _streams: WeakSet[Stream[Any]]
    """Streams that may still be read: closed with the client."""

    def _tracked(self, stream: S) -> S:
        self._streams.add(stream)
        return stream

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
