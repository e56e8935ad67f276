"""Stills: one with its picture whatever its size, or a group's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from camsvc_client.calls import Caller
from camsvc_client.channel import status_info
from camsvc_client.download import download
from camsvc_client.errors import CamsvcError, InvalidRequest, from_info
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
    """Take a still; `request` has its id, and is given the rest here."""
    if when_busy == "queue":
        request.busy_policy = api.CaptureRequest.BUSY_POLICY_WAIT
    request.max_inline_bytes = _INLINE_BYTES
    if not fetch:
        request.delivery = api.CaptureRequest.DELIVERY_REFERENCE
    retry_on = RetryOn.ALL & ~RetryOn.BUSY if when_busy == "fail" else RetryOn.ALL
    schedule = caller.schedule(type(request), timeout, retry_on)

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


@dataclass(frozen=True, slots=True)
class GroupResult:
    """One camera's part: either `capture` or `error` is set.

    `replayed`: the capture is the stored result of an earlier call.

    Example:
        for result in group.results:
            print(result.camera, result.error or result.capture.capture_id)
    """

    camera: str
    capture: pb.Capture | None
    error: CamsvcError | None
    replayed: bool


@dataclass(frozen=True, slots=True)
class Group:
    """One result for each shot, in the same order.

    `skew_s` is the time between the first and the last exposure, in seconds; None where fewer than
    two were taken by this call.

    Example:
        group = await client.capture_group(["left", "right"])
        print(f"{(group.skew_s or 0) * 1000:.1f} ms apart")
    """

    results: Sequence[GroupResult]
    skew_s: float | None

    def captures(self) -> list[pb.Capture]:
        """Return the captures, one for each shot.

        Raises:
            CamsvcError: the error of the first camera that has one.
        """
        for result in self.results:
            if result.error:
                raise result.error
        return [result.capture for result in self.results if result.capture]

    @classmethod
    def of(cls, response: api.CaptureGroupResponse, request_ids: Sequence[str]) -> Self:
        """Make one of the contract's message."""
        skew_s = response.acquisition_skew.ToNanoseconds() / 1e9
        return cls(
            [_result(r, i) for r, i in zip(response.results, request_ids, strict=True)],
            skew_s if response.HasField("acquisition_skew") else None,
        )


def _result(result: api.CaptureGroupResult, request_id: str) -> GroupResult:
    failed = result.HasField("error")
    return GroupResult(
        camera=result.camera,
        capture=None if failed else result.capture,
        error=from_info(status_info(result.error), request_id=request_id) if failed else None,
        replayed=result.replayed,
    )
