"""The results of a CaptureGroup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from camsvc_client.channel import status_info
from camsvc_client.errors import CamsvcError, from_info


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
        skew = response.acquisition_skew.ToNanoseconds() / 1e9
        return cls(
            [_result(r, i) for r, i in zip(response.results, request_ids, strict=True)],
            skew if response.HasField("acquisition_skew") else None,
        )


def _result(result: api.CaptureGroupResult, request_id: str) -> GroupResult:
    failed = result.HasField("error")
    return GroupResult(
        camera=result.camera,
        capture=None if failed else result.capture,
        error=from_info(status_info(result.error), request_id=request_id) if failed else None,
        replayed=result.replayed,
    )
