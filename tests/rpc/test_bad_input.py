"""Bad input is refused with subject, value and what is allowed, and leaves the camera well."""

import asyncio
import math
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import RpcErrorInfo, error_info
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.events import ENDS, Event, EventReader
from tests.support.history import QUICK, exposures, listed
from tests.support.pictures import number
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

HUGE = "x" * 900 * 2**10
UMLAUTS = "ü" * 512  # as long as a text may be, and each character 6 bytes in a header
PICTURES_TAKEN = 1
"""By the one case that shows only in the picture's size."""

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "CAMERA_NOT_FOUND")
REJECTED = Event.TYPE_REJECTED
UNSUPPORTED = (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED")

RPC_OF = {
    api.CaptureRequest: "Capture",
    api.GetCameraRequest: "GetCamera",
    api.ListControlsRequest: "ListControls",
    api.SetControlsRequest: "SetControls",
    api.ResetCameraRequest: "ResetCamera",
}


@dataclass(frozen=True)
class Case:
    """A request, the refusal it gets, and the words that must be in the message."""

    name: str
    request: Message
    refusal: tuple[grpc.StatusCode, str]
    words: tuple[str, ...]
    field: str = ""
    """The field that BadRequest names; empty: there is no BadRequest."""


def capture(**fields: object) -> api.CaptureRequest:
    return api.CaptureRequest(**{"camera": "sim0", **fields})  # type: ignore[arg-type]


def image(**fields: int) -> api.CaptureRequest:
    return capture(image=pb.ImageOptions(**fields))  # type: ignore[arg-type]


def value(of: object) -> pb.ControlValue:
    match of:
        case bool():
            return pb.ControlValue(bool_value=of)
        case int():
            return pb.ControlValue(int_value=of)
        case float():
            return pb.ControlValue(double_value=of)
        case str():
            return pb.ControlValue(string_value=of)
    return pb.ControlValue()


def controls(*settings: tuple[str, object]) -> list[pb.ControlSetting]:
    return [pb.ControlSetting(name=name, value=value(of)) for name, of in settings]


def bad_control(name: str, of: object, words: tuple[str, ...], field: str = "") -> list[Case]:
    """The same setting in both RPCs that take one."""
    refusal = INVALID if field else UNSUPPORTED
    given = controls((name, of))
    return [
        Case(f"SetControls {name} {str(of)[:8]}", request, refusal, words, field)
        for request in (
            api.SetControlsRequest(camera="sim0", controls=given),
            capture(controls=given),
        )
    ]


def bad_number(field: str, number: int, *words: str) -> Case:
    return Case(f"{field} {number}", image(**{field: number}), INVALID, words, f"image.{field}")


JPEG, PNG, RAW = pb.ImageOptions.FORMAT_JPEG, pb.ImageOptions.FORMAT_PNG, pb.ImageOptions.FORMAT_RAW
NAMES_ALLOWED = "a lower-case letter, then up to 62"

CASES = [
    *(
        Case(f"{RPC_OF[kind]} unknown", kind(camera="cam9"), NOT_FOUND, ("'cam9'", "sim0, sim1"))
        for kind in RPC_OF
    ),
    *(
        Case(
            f"{RPC_OF[kind]} {bad!r:.20}",
            kind(camera=bad),
            INVALID,
            (shown, NAMES_ALLOWED),
            "camera",
        )
        for kind in RPC_OF
        for bad, shown in [
            ("", "''"),
            ("../etc/passwd", "'../etc/passwd'"),
            ("sim0\n", "'sim0\\n'"),
            ("sim0\0", "'sim0\\x00'"),
            (HUGE, "'xxxxxxxx"),
        ]
    ),
    *bad_control("gain", math.nan, ("nan", "'gain'", "finite"), "controls[0].value"),
    *bad_control("gain", math.inf, ("inf", "'gain'", "finite"), "controls[0].value"),
    *bad_control("gain", 99.0, ("gain", "99", "from 1 up to 16"), "controls[gain]"),
    *bad_control("gain", -(2**63), ("gain", "from 1 up to 16"), "controls[gain]"),
    *bad_control(
        "exposure_duration_us",
        1e300,
        ("from 100 up to 10000000 us",),
        "controls[exposure_duration_us]",
    ),
    *bad_control(
        "exposure_duration_us",
        1.5,
        ("1.5", "allowed: a whole number"),
        "controls[exposure_duration_us]",
    ),
    *bad_control("gain", "loud", ("gain", "'loud'", "allowed: a number"), "controls[gain]"),
    *bad_control("gain", True, ("gain", "True", "allowed: a number"), "controls[gain]"),
    *bad_control("focus_mode", "macro", ("'macro'", "manual, auto"), "controls[focus_mode]"),
    *bad_control("focus_mode", UMLAUTS, ("focus_mode", "manual, auto"), "controls[focus_mode]"),
    *bad_control("focus_mode", HUGE, ("921600 bytes", "1024"), "controls[0].value"),
    *bad_control("zoom", 2.0, ("'zoom'", "focus_distance_diopters", "gain")),
    *bad_control(UMLAUTS[:100], 2.0, ("üüü", "focus_distance_diopters", "gain")),
    *bad_control("gain", None, ("'gain'", "missing"), "controls[0].value"),
    *bad_control("", 2.0, ("''", "ListControls"), "controls[0].name"),
    Case(
        "a control twice",
        capture(controls=controls(("gain", 2.0), ("gain", 3.0))),
        INVALID,
        ("'gain'", "twice"),
        "controls[1].name",
    ),
    Case(
        "900 KiB label",
        capture(labels={"order": HUGE}),
        INVALID,
        ("labels[order]", "921600 bytes", "up to 1024"),
        "labels[order]",
    ),
    Case(
        "label key", capture(labels={"Order!": "1"}), INVALID, ("'Order!'", NAMES_ALLOWED), "labels"
    ),
    Case(
        "65 labels",
        capture(labels={f"l{n}": "" for n in range(65)}),
        INVALID,
        ("65 labels", "up to 64"),
        "labels",
    ),
    Case(
        "labels together",
        capture(labels={f"l{n:02}": "ü" * 511 for n in range(16)}),
        INVALID,
        ("16400 bytes", "up to 16384"),
        "labels",
    ),
    Case("UUID", capture(request_id="42"), INVALID, ("'42'", "not a UUID", "-4e9f-"), "request_id"),
    Case(
        "UUID in braces",
        capture(request_id="{3f2a8c1e-5b7d-4e9f-8a6b-0c1d2e3f4a5b}"),
        INVALID,
        ("not a UUID",),
        "request_id",
    ),
    Case("policy", capture(busy_policy=9), INVALID, ("9", "BUSY_POLICY_WAIT"), "busy_policy"),
    Case("delivery", capture(delivery=9), INVALID, ("9", "DELIVERY_INLINE"), "delivery"),
    Case("format", image(format=9), INVALID, ("9", "FORMAT_JPEG"), "image.format"),
    bad_number("quality_percent", 0, "0 is out of range", "from 1 to 100"),
    bad_number("quality_percent", 101, "101 is out of range", "from 1 to 100"),
    bad_number("quality_percent", -1, "-1 is out of range", "from 1 to 100"),
    *(
        bad_number(field, number, f"{number} is out of range", "from 1 to 65535")
        for field in ("max_width_px", "max_height_px")
        for number in (0, -1, 70000)
    ),
    Case(
        "PNG with quality",
        image(format=PNG, quality_percent=50),
        INVALID,
        ("quality_percent", "50", "PNG"),
        "image.quality_percent",
    ),
    Case(
        "RAW with quality",
        image(format=RAW, quality_percent=50),
        INVALID,
        ("quality_percent", "50", "RAW"),
        "image.quality_percent",
    ),
    Case(
        "RAW with size",
        image(format=RAW, max_width_px=50),
        INVALID,
        ("50", "RAW"),
        "image.max_width_px",
    ),
    Case("RAW", image(format=RAW), UNSUPPORTED, ("RAW", "JPEG, PNG")),
    Case("limit 0", capture(max_inline_bytes=0), INVALID, ("0", "from 1"), "max_inline_bytes"),
    Case("limit -1", capture(max_inline_bytes=-1), INVALID, ("-1", "from 1"), "max_inline_bytes"),
    Case(
        "too large for inline",
        capture(max_inline_bytes=100),
        INVALID,
        ("bytes", "100", "max_width_px"),
        "max_inline_bytes",
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder: Path = tmp_path_factory.mktemp("service")
    async with Service(folder, camera() + camera("sim1")) as service:
        yield service


async def refusal(service: Service, request: Message) -> RpcErrorInfo:
    call = getattr(service.stub, RPC_OF[type(request)])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(request, timeout=CALL_S)
    return error_info(caught.value)


def assert_reveals_nothing(message: str) -> None:
    assert "Traceback" not in message
    assert "internal error" not in message
    assert not re.search(r"/(usr|home|root|tmp|var|proc)/|\.py\b|site-packages", message)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_bad_input_is_refused_with_subject_value_and_what_is_allowed(
    service: Service, case: Case
) -> None:
    info = await refusal(service, case.request)
    assert (info.code, info.reason) == case.refusal, info.message
    for word in case.words:
        assert word in info.message
    assert [v.field for v in info.field_violations] == ([case.field] if case.field else [])
    assert all(v.description in info.message for v in info.field_violations)
    assert len(info.message) < 4000
    assert info.retry_delay_s is None
    assert_reveals_nothing(info.message)


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (
            capture(
                camera="No!",
                request_id="42",
                delivery=9,
                image=pb.ImageOptions(format=PNG, quality_percent=50, max_width_px=0),
                labels={"Order!": "", "order": HUGE},
                controls=controls(("gain", math.nan), ("", 1.0)),
            ),
            {"camera", "request_id", "delivery", "image.quality_percent", "image.max_width_px"}
            | {"labels", "labels[order]", "controls[0].value", "controls[1].name"},
        ),
        (
            api.CaptureGroupRequest(requests=[capture(camera="No!"), image(quality_percent=0)]),
            {"requests[0].camera", "requests[1].image.quality_percent"},
        ),
        (
            api.LiveViewRequest(camera="", max_fps=0.0, max_width_px=0, quality_percent=101),
            {"camera", "max_fps", "max_width_px", "quality_percent"},
        ),
        (
            api.GetFrameRequest(camera="No!", max_age=Duration(seconds=-1), max_height_px=0),
            {"camera", "max_age", "max_height_px"},
        ),
        (api.CaptureEventsRequest(camera="No!", after_sequence=-1), {"camera", "after_sequence"}),
        (
            api.ListCapturesRequest(
                camera="No!",
                labels={"Order!": ""},
                start_time=Timestamp(nanos=-1),
                end_time=Timestamp(seconds=-1),
                states=[pb.Capture.STATE_FAILED, 9],  # type: ignore[list-item]
                page_size=-1,
            ),
            {"camera", "labels", "start_time", "end_time", "states[1]", "page_size"},
        ),
        (api.ListCapturesRequest(page_size=-1, page_token="x"), {"page_size", "page_token"}),
        (
            api.DownloadImageRequest(
                capture_id="/",
                variant=9,  # type: ignore[arg-type]
                part=-1,
                read_offset=-1,
                read_limit=-1,
            ),
            {"capture_id", "variant", "part", "read_offset", "read_limit"},
        ),
        (
            api.SetControlsRequest(camera="No!", controls=controls(("gain", None))),
            {"camera", "controls[0].value"},
        ),
        (  # the camera itself checks these
            api.SetControlsRequest(
                camera="sim0", controls=controls(("gain", 99.0), ("focus_mode", "macro"))
            ),
            {"controls[gain]", "controls[focus_mode]"},
        ),
    ],
    ids=lambda value: type(value).__name__.removesuffix("Request"),
)
async def test_each_wrong_field_is_named(
    service: Service, request_: Message, fields: set[str]
) -> None:
    call = getattr(service.stub, type(request_).__name__.removesuffix("Request"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        answer = call(request_, timeout=CALL_S)
        await (answer.read() if hasattr(answer, "read") else answer)
    info = error_info(caught.value)
    assert (info.code, info.reason) == INVALID
    assert {violation.field for violation in info.field_violations} == fields
    assert f"{len(fields)} fields are wrong" in info.message


async def test_the_camera_is_as_well_as_before(service: Service) -> None:
    """Refusals cost no attempt, no recovery, and no worker."""
    first = await service.capture()

    async def warm() -> bool:
        return len(service.workers()) == 2

    await until(warm, "the camera has its worker, and another one is warm")
    workers = {process.pid for process in service.workers()}
    for case in CASES:
        await refusal(service, case.request)
    second = await service.capture()
    assert number(second) == number(first) + 1 + PICTURES_TAKEN
    assert {process.pid for process in service.workers()} == workers
    shown = (await service.camera()).camera
    assert shown.state == pb.Camera.STATE_READY
    assert not any(rung.count for rung in shown.statistics.recoveries)
    assert exposures(second.capture) == exposures(first.capture) + 1 + PICTURES_TAKEN
    before, after = (
        [control for control in taken.capture.controls if control.name != "shutter_actuations"]
        for taken in (first, second)
    )
    assert before == after


@pytest.mark.parametrize("opened", [False, True])
async def test_what_the_camera_refuses_is_no_capture(tmp_path: Path, opened: bool) -> None:
    """It leaves no row, and one event for each reason; to repeat it is to ask anew."""
    request_id = str(uuid.uuid4())
    cases = [
        capture(controls=controls(("focus_distance_diopters", 20.0))),
        capture(controls=controls(("zoom", 2.0))),
        image(format=RAW),
        capture(controls=controls(("gain", 99.0)), request_id=request_id),
    ]
    async with Service(tmp_path, camera(**QUICK)) as service:
        kept = [(await service.capture()).capture] if opened else []
        async with EventReader(service) as reader:
            reasons: list[str | None] = []
            for request in cases:
                info = await refusal(service, request)
                first = info.reason not in reasons
                reasons += [info.reason] if first else []
                await reader.until_type(REJECTED, len(reasons))
                assert (info.code, info.reason) in (INVALID, UNSUPPORTED)
                assert "capture_id" not in info.metadata
                assert await listed(service) == kept
                ends = [event for event in reader.events if event.type in (*ENDS, REJECTED)]
                assert [event.type for event in ends] == [REJECTED] * len(reasons)
                assert not first or ends[-1].error.message == info.message
        taken = await service.capture(request_id=request_id)
        assert not taken.replayed
        assert exposures(taken.capture) == len(kept) + 1
        statistics = (await service.camera()).camera.statistics
        assert (statistics.captures_failed, statistics.consecutive_failures) == (0, 0)


async def test_an_absurd_exposure_does_not_spoil_what_others_are_told(tmp_path: Path) -> None:
    """While it waits for the camera to open, the list and the refusals are made as ever."""
    absurd = controls(("exposure_duration_us", 1e300))
    async with Service(tmp_path, camera(open_duration_s=1.0)) as service:
        refused = asyncio.create_task(refusal(service, capture(controls=absurd)))

        async def holds() -> bool:
            return (await service.camera()).camera.HasField("active_capture")

        await until(holds, "the absurd capture holds the camera")
        listed = await service.stub.ListCameras(api.ListCamerasRequest(), timeout=CALL_S)
        assert listed.cameras[0].HasField("active_capture")
        busy = await refusal(service, capture())
        assert busy.reason == "CAMERA_BUSY", busy.message
        assert (await refused).reason == "INVALID_REQUEST"


async def test_of_many_cameras_a_refusal_names_a_few(tmp_path: Path) -> None:
    async with Service(tmp_path, "".join(camera(f"cam{n}") for n in range(64))) as service:
        info = await refusal(service, api.GetCameraRequest(camera="cam64"))
        assert (info.code, info.reason) == NOT_FOUND
        assert "cam7 and 56 more" in info.message
        assert "cam8" not in info.message


async def test_a_request_beyond_every_size_is_refused_by_its_size(service: Service) -> None:
    request = api.GetCameraRequest(camera="x" * 2**20)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.stub.GetCamera(request, timeout=CALL_S)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = caught.value.details() or ""
    assert f"message larger than max ({request.ByteSize()} vs. {2**20})" in details
