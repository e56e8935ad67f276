"""What live view is asked for and cannot be: refused at once, and the camera not touched."""

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import pytest_asyncio
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import RpcErrorInfo, error_info
from google.protobuf.duration_pb2 import Duration

from tests.support import plugins
from tests.support.live import Watcher, pixels_of
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.timing import timing

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE_S = 1.0
HUGE = 2**31 - 1
RPCS = ("LiveView", "GetFrame")
INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "CAMERA_NOT_FOUND")


@dataclass(frozen=True)
class Case:
    """A request, the refusal it gets, and the words that must be in the message."""

    rpc: str
    fields: dict[str, Any]
    words: tuple[str, ...]
    bad_field: str = ""
    refusal: tuple[grpc.StatusCode, str] = field(default=INVALID)

    @property
    def name(self) -> str:
        shown = " ".join(f"{key}={value!r:.12}" for key, value in self.fields.items())
        return f"{self.rpc} {shown}"


def out_of_range(rpc: str, name: str, value: object, allowed: str) -> Case:
    return Case(rpc, {name: value}, (f"{name}: {value} is out of range", allowed), name)


CASES = [
    *(
        out_of_range("LiveView", "max_fps", value, "allowed: above 0, up to 1000")
        for value in (0.0, -1.0, -0.0, math.nan, math.inf, -math.inf, 1000.5, 1e300)
    ),
    *(
        out_of_range(rpc, size, value, "allowed: from 1 to 65535")
        for rpc in RPCS
        for size in ("max_width_px", "max_height_px")
        for value in (0, -1, 65536, HUGE, -HUGE - 1)
    ),
    *(
        out_of_range(rpc, "quality_percent", value, "allowed: from 1 to 100")
        for rpc in RPCS
        for value in (0, -1, 101, HUGE)
    ),
    *(
        Case(
            "GetFrame", {"max_age": age}, (f"{shown} s is out of range", "0 to 86400 s"), "max_age"
        )
        for age, shown in [
            (Duration(seconds=-1), "-1"),
            (Duration(nanos=-1), "-1e-09"),
            (Duration(seconds=86_401), "86401"),
            (Duration(seconds=315_576_000_000), "3.15576e+11"),
            (Duration(seconds=2**62), "4.61169e+18"),
        ]
    ),
    *(
        Case(rpc, {"camera": bad}, (shown, "a lower-case letter"), "camera")
        for rpc in RPCS
        for bad, shown in [("", "''"), ("Sim0", "'Sim0'"), ("../x", "'../x'")]
    ),
    *(Case(rpc, {"camera": "cam9"}, ("'cam9'", "sim0"), "", NOT_FOUND) for rpc in RPCS),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    still = camera("still", driver="plugins:StillCamera", env=plugins.ENV)
    async with Service(tmp_path_factory.mktemp("service"), camera() + still) as service:
        yield service


async def refusal(service: Service, rpc: str, **fields: Any) -> RpcErrorInfo:
    asked = {"camera": "sim0", **fields}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        if rpc == "GetFrame":
            await service.stub.GetFrame(api.GetFrameRequest(**asked), timeout=CALL_S)
        else:
            async for response in service.stub.LiveView(
                api.LiveViewRequest(**asked), timeout=CALL_S
            ):
                assert response.HasField("status")
    return error_info(caught.value)


@pytest.mark.timed
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_bad_input_is_refused_with_subject_value_and_what_is_allowed(
    service: Service, case: Case
) -> None:
    with timing() as took:
        info = await refusal(service, case.rpc, **case.fields)
    took.assert_within(AT_ONCE_S)
    assert (info.code, info.reason) == case.refusal, info.message
    for word in case.words:
        assert word in info.message
    assert [v.field for v in info.field_violations] == ([case.bad_field] if case.bad_field else [])
    assert info.retry_delay_s is None
    assert "internal error" not in info.message


async def test_no_refusal_opens_the_camera(service: Service) -> None:
    for case in CASES:
        await refusal(service, case.rpc, **case.fields)
    shown = (await service.camera()).camera
    assert shown.state == pb.Camera.STATE_CLOSED
    assert shown.statistics.live_viewers == 0


@pytest.mark.parametrize("rpc", RPCS)
async def test_a_camera_without_live_view_is_unsupported(service: Service, rpc: str) -> None:
    for _ in range(2):  # the first time, that shows when the camera has been opened
        info = await refusal(service, rpc, camera="still")
        assert (info.code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED")
        assert "'still' has no live view; allowed: Capture" in info.message


@pytest.mark.parametrize(
    "fields",
    [
        {"max_fps": 1000.0},
        {"max_fps": 1e-300},
        {"max_width_px": 1},
        {"max_height_px": 1},
        {"max_width_px": 65535, "max_height_px": 65535},
        {"quality_percent": 1},
        {"quality_percent": 100},
    ],
)
async def test_the_bounds_themselves_are_allowed(service: Service, fields: dict[str, Any]) -> None:
    async with Watcher(service, **fields) as watcher:
        frames = await watcher.until_frames()
    assert pixels_of(frames[0]).shape[0] >= 1
