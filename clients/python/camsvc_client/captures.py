"""A still, with its picture whatever its size."""

from __future__ import annotations

from camapi.v1 import camera_service_pb2 as api

from camsvc_client.calls import Caller
from camsvc_client.download import download
from camsvc_client.errors import InvalidRequest
from camsvc_client.images import Picture
from camsvc_client.retry import RetryOn
from camsvc_client.values import WhenBusy

_INLINE_BYTES = 16 * 2**20
"""Larger pictures are downloaded, which can be resumed after a lost connection. Less than what the
channel takes in a message."""


async def take(
    caller: Caller,
    request: api.CaptureRequest,
    *,
    timeout: float | None,
    when_busy: WhenBusy,
    fetch: bool,
) -> Picture:
    """Take a still; `request` has its id, and is given the rest here.

    Raises:
        CamsvcError: as `Caller.call`.
    """
    if when_busy == "queue":
        request.busy_policy = api.CaptureRequest.BUSY_POLICY_WAIT
    request.max_inline_bytes = _INLINE_BYTES
    if not fetch:
        request.delivery = api.CaptureRequest.DELIVERY_REFERENCE
    retry_on = RetryOn.ALL & ~RetryOn.BUSY if when_busy == "fail" else RetryOn.ALL
    schedule = caller.schedule(retry_on, timeout)

    async def call() -> api.CaptureResponse:
        return await caller.call(
            lambda stub: stub.Capture,
            request,
            timeout=schedule.time_left_s(),
            retry_on=retry_on,
            request_id=request.request_id,
        )

    try:
        answer = await call()
    except InvalidRequest as error:
        too_large = any(v.field == "max_inline_bytes" for v in error.violations)
        if not too_large or error.capture_id is None:
            raise
        # Taken, but too large for the answer.
        request.delivery = api.CaptureRequest.DELIVERY_REFERENCE
        answer = await call()
        wanted = api.DownloadImageRequest(capture_id=answer.capture.capture_id)
        image = await download(caller, wanted, timeout=schedule.time_left_s(), on_progress=None)
        return Picture(image.data, image.mime_type, answer.capture, replayed=False)
    mime_type = answer.capture.image.mime_type
    return Picture(answer.image_data, mime_type, answer.capture, answer.replayed)
