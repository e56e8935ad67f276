"""Groups of cameras, and what a client sees of one."""

import uuid
from collections.abc import Iterable
from typing import Any

from camapi.v1 import camera_service_pb2 as api
from google.rpc import error_details_pb2, status_pb2

from tests.support.history import QUICK, described, download, sha256
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.timing import Timing, timing

PLAIN = ("sim0", "sim1", "sim2")
"""Three cameras with nothing special to them; `SETTINGS` are theirs."""

SETTINGS = "".join(camera(name, **QUICK) for name in PLAIN)


def wanted(cameras: Iterable[str], ids: str = "", **fields: Any) -> list[api.CaptureRequest]:
    """Return a group's requests; with `ids`, each with an id that comes from it."""
    return [
        api.CaptureRequest(
            camera=name,
            request_id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{ids} {name}")) if ids else "",
            **fields,
        )
        for name in cameras
    ]


async def group(
    service: Service, requests: list[api.CaptureRequest], timeout: float = CALL_S
) -> api.CaptureGroupResponse:
    request = api.CaptureGroupRequest(requests=requests)
    response = await service.stub.CaptureGroup(request, timeout=timeout)
    assert [r.camera for r in response.results] == [r.camera for r in requests]
    return response


def skew_s(response: api.CaptureGroupResponse) -> float:
    """Return the time between a group's first and last picture."""
    assert response.HasField("acquisition_skew")
    return response.acquisition_skew.ToNanoseconds() / 1e9


async def taken_together(
    service: Service, requests: list[api.CaptureRequest], within_s: float
) -> api.CaptureGroupResponse:
    """Take a group whose pictures are promised to be so close together."""
    with timing() as took:
        response = await group(service, requests)
    assert_together(response, within_s, took)
    return response


def assert_together(response: api.CaptureGroupResponse, within_s: float, took: Timing) -> None:
    """The pictures are so close together, but for waits for processors in that time."""
    print(f"skew {skew_s(response) * 1e3:.2f} ms")
    assert skew_s(response) - took.waited_s <= within_s, took


async def assert_taken(service: Service, results: Iterable[api.CaptureGroupResult]) -> None:
    for result in results:
        assert result.HasField("capture"), result.error
        assert result.capture.camera == result.camera
        assert result.capture == await described(service, result.capture.capture_id)
        picture = await download(service, result.capture.capture_id)
        assert sha256(picture.data) == result.capture.image.sha256


def acquired_s(results: Iterable[api.CaptureGroupResult]) -> list[float]:
    return sorted(r.capture.acquisition_time.ToNanoseconds() / 1e9 for r in results)


def reason(error: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in error.details)
    return info.reason
