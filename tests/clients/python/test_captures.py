"""Stills: busy cameras, time-outs, lost answers; the shutter is pressed once."""

import asyncio
import time
import uuid

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import (
    NEVER,
    AsyncCameraClient,
    CameraBusy,
    CameraFaulted,
    CameraNotFound,
    CameraUnavailable,
    CaptureNotFound,
    CaptureTimeout,
    DeadlineExceeded,
    InvalidRequest,
    RequestIdReused,
    Shot,
    Unsupported,
)
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.clients.python.fake import Context, served
from tests.conftest import StartService
from tests.support import plugins
from tests.support.events import EventReader, steps
from tests.support.history import exposures
from tests.support.proxy import Proxy
from tests.support.scenes import camera, fault
from tests.support.waiting import until

SLOW = camera(capture_duration_s=0.5)


async def test_a_capture_has_its_picture_and_its_description(client: AsyncCameraClient) -> None:
    picture = await client.capture(
        "sim0",
        timeout=30,
        format="png",
        max_width_px=100,
        controls={"focus_distance_diopters": 8, "focus_mode": "manual", "gain": 2.5},
        labels={"row": "7"},
    )
    assert picture.data.startswith(b"\x89PNG")
    assert picture.mime_type == "image/png"
    assert picture.array().shape == (75, 100, 3)
    capture = picture.capture
    assert dict(capture.labels) == {"row": "7"}
    settings = {c.name: c.value for c in capture.controls}
    assert settings["focus_distance_diopters"].double_value == 8
    assert uuid.UUID(capture.request_id).version == 4


async def test_a_busy_camera_is_asked_again_when_the_service_says(
    start_service: StartService,
) -> None:
    service = await start_service(SLOW)
    async with AsyncCameraClient(service.address) as client:
        pictures = await asyncio.gather(*(client.capture("sim0", timeout=30) for _ in range(3)))
        assert len({p.capture.capture_id for p in pictures}) == 3
        rejected = (await client.get_camera("sim0")).statistics.captures_rejected
        assert rejected >= 2, "they were refused, and came back"
        assert max(exposures(p.capture) for p in pictures) == 3


async def test_queueing_captures_are_not_refused(start_service: StartService) -> None:
    service = await start_service(SLOW)
    async with AsyncCameraClient(service.address) as client:
        calls = [client.capture("sim0", timeout=30, when_busy="queue") for _ in range(3)]
        await asyncio.gather(*calls)
        assert (await client.get_camera("sim0")).statistics.captures_rejected == 0


async def test_busy_is_an_error_with_the_holder_when_it_is_to_fail(
    start_service: StartService,
) -> None:
    service = await start_service(SLOW)
    async with AsyncCameraClient(service.address) as client:
        first = asyncio.create_task(client.capture("sim0", timeout=30))
        await service.wait_for_state(pb.Camera.STATE_CAPTURING)
        with pytest.raises(CameraBusy) as caught:
            await client.capture("sim0", timeout=30, when_busy="fail")
        error, held_by = caught.value, (await first).capture
    assert error.holder.capture_id == held_by.capture_id
    assert error.holder.request_id == held_by.request_id
    assert error.holder.expected_end_time is not None
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s < 5
    assert error.camera == "sim0"


@pytest.mark.timed
async def test_a_wait_that_does_not_fit_the_time_out_is_not_begun(
    start_service: StartService,
) -> None:
    """Who holds the camera is told at once, instead of DEADLINE_EXCEEDED at the end."""
    service = await start_service(camera(capture_duration_s=3.0))
    async with AsyncCameraClient(service.address) as client:
        await client.list_controls("sim0")
        first = asyncio.create_task(client.capture("sim0", timeout=30))
        await service.wait_for_state(pb.Camera.STATE_CAPTURING)
        started = time.monotonic()
        with pytest.raises(CameraBusy):
            await client.capture("sim0", timeout=1.0)
        assert time.monotonic() - started < 0.5
        await first


@pytest.mark.timed
async def test_the_time_out_holds_and_the_picture_is_there_afterwards(
    start_service: StartService,
) -> None:
    service = await start_service(camera(capture_duration_s=1.5))
    async with AsyncCameraClient(service.address) as client:
        await client.list_controls("sim0")
        started = time.monotonic()
        with pytest.raises(
            DeadlineExceeded, match=r"Capture had no answer within 0\.5 s"
        ) as caught:
            await client.capture("sim0", timeout=0.5)
        assert time.monotonic() - started < 0.7
        assert isinstance(caught.value, TimeoutError)
        picture = await client.capture("sim0", timeout=30, request_id=caught.value.request_id)
        assert exposures(picture.capture) == 1


@pytest.mark.parametrize(
    ("early_s", "kind"), [(0.01, DeadlineExceeded), (0.4, CaptureTimeout)], ids=["its own", "worst"]
)
async def test_a_deadline_that_the_service_sees_first_is_the_callers_all_the_same(
    early_s: float, kind: type[Exception]
) -> None:
    """Not one that the camera has by itself, which comes while there is time left."""

    async def capture(request: api.CaptureRequest, context: Context) -> None:
        await asyncio.sleep(context.time_remaining() - early_s)
        info, details = error_details_pb2.ErrorInfo(), any_pb2.Any()
        info.domain, info.reason = "camsvc", "CAPTURE_TIMEOUT"
        details.Pack(info)
        code = grpc.StatusCode.DEADLINE_EXCEEDED
        status = status_pb2.Status(code=code.value[0], message="late", details=[details])
        await context.abort_with_status(rpc_status.to_status(status))

    async with served(Capture=capture) as address, AsyncCameraClient(address) as client:
        with pytest.raises(kind):
            await client.capture("sim0", timeout=0.8)


async def test_an_answer_that_is_lost_costs_no_second_picture(start_service: StartService) -> None:
    """The line is cut while the answer is on it; the call is made again under the same id."""
    service = await start_service(camera())
    async with Proxy(service.address) as line, AsyncCameraClient(line.address) as client:
        await client.list_controls("sim0")
        line.cut_next_reply(after_bytes=500)
        picture = await client.capture("sim0", timeout=30)
        assert line.cuts == 1
        assert picture.replayed
        assert exposures(picture.capture) == 1
        line.cut_next_reply(after_bytes=10)
        (result,) = (await client.capture_group(["sim0"], timeout=30)).results
        assert line.cuts == 2
        assert result.replayed
        assert result.capture
        assert exposures(result.capture) == 2


async def test_a_camera_that_comes_back_is_waited_for(start_service: StartService) -> None:
    unplugged = {**fault("disconnect", on="open"), "seconds": 2.0}
    service = await start_service(camera(faults=[unplugged]))
    async with AsyncCameraClient(service.address) as client:
        assert (await client.capture("sim0", timeout=30)).data


async def test_a_value_that_the_camera_refuses_is_asked_for_once(
    start_service: StartService,
) -> None:
    settings = camera(driver="plugins:GovernedCamera", env=plugins.ENV)
    service = await start_service(settings)
    async with AsyncCameraClient(service.address) as client:
        with pytest.raises(InvalidRequest, match="not while the mode is auto"):
            await client.capture("sim0", timeout=10, controls={"exposure_duration_us": 5000})
    async with EventReader(service, after_sequence=0) as reader:
        events = await reader.until(lambda: "REJECTED" in steps(reader.events), "it is refused")
        assert steps(events) == ["REJECTED"]


async def test_a_group_is_taken_at_once_and_one_failure_spoils_no_other(
    start_service: StartService,
) -> None:
    broken = camera("sim2", faults=[fault("permanent", on="open", times=0)])
    service = await start_service(camera() + camera("sim1") + broken)
    async with AsyncCameraClient(service.address) as client:
        group = await client.capture_group(["sim0", Shot(camera="sim1", labels={"side": "right"})])
        left, right = group.captures()
        assert (left.camera, right.camera) == ("sim0", "sim1")
        assert dict(right.labels) == {"side": "right"}
        assert group.skew_s is not None
        assert group.skew_s < 0.05
        mixed = await client.capture_group(["sim0", "sim2"])
        assert mixed.results[0].capture
        assert isinstance(mixed.results[1].error, CameraFaulted)
        assert "simulated permanent fault" in str(mixed.results[1].error)
        with pytest.raises(CameraFaulted):
            mixed.captures()


async def test_each_reason_is_an_exception_of_its_own(start_service: StartService) -> None:
    away = camera("away", attempts=1, faults=[{**fault("disconnect", on="open"), "seconds": 60.0}])
    service = await start_service(camera() + away)
    async with AsyncCameraClient(service.address, retry=NEVER) as client:
        with pytest.raises(CameraNotFound) as not_found:
            await client.get_camera("nono")
        assert not_found.value.camera == "nono"
        assert "configured are: sim0" in str(not_found.value)
        with pytest.raises(CaptureNotFound) as no_capture:
            await client.get_capture("nono")
        assert no_capture.value.capture_id == "nono"
        with pytest.raises(InvalidRequest) as invalid:
            await client.capture("sim0", quality_percent=0)
        assert [v.field for v in invalid.value.violations] == ["image.quality_percent"]
        assert isinstance(invalid.value, ValueError)
        with pytest.raises(Unsupported):
            await client.capture("sim0", format="raw")
        request_id = str(uuid.uuid4())
        await client.capture("sim0", request_id=request_id)
        with pytest.raises(RequestIdReused) as reused:
            await client.capture("sim0", request_id=request_id, format="png")
        assert reused.value.metadata["request_id"] == request_id
        unavailable: list[CameraUnavailable] = []

        async def refused() -> bool:
            """The first call waits for the camera to its own end; those after it are refused."""
            try:
                await client.capture("away", timeout=1)
            except CameraUnavailable as error:
                unavailable.append(error)
            except TimeoutError:
                pass
            return bool(unavailable)

        await until(refused, "the camera is given up for now")
        assert unavailable[0].retry_after_s


async def test_what_a_python_value_cannot_be_is_refused_here(client: AsyncCameraClient) -> None:
    with pytest.raises(TypeError, match="gain"):
        await client.set_controls("sim0", {"gain": None})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="gif"):
        await client.capture("sim0", format="gif")  # type: ignore[arg-type]


async def test_controls_are_set_and_read_as_plain_values(client: AsyncCameraClient) -> None:
    after = await client.set_controls("sim0", {"gain": 2, "focus_mode": "auto"})
    values = {control.name: control.value for control in after}
    assert values["gain"].double_value == 2.0
    assert values["focus_mode"].string_value == "auto"
    assert [c.name for c in after] == [c.name for c in await client.list_controls("sim0")]


async def test_a_picture_by_reference_is_not_fetched_until_wanted(
    client: AsyncCameraClient,
) -> None:
    picture = await client.capture("sim0", fetch=False)
    with pytest.raises(ValueError, match="download_image"):
        picture.save("nowhere.jpg")
    image = await client.download_image(picture.capture.capture_id)
    assert len(image.data) == picture.capture.image.size_bytes


async def test_the_rest_of_the_calls(client: AsyncCameraClient) -> None:
    assert [c.camera for c in await client.list_cameras()] == ["sim0", "sim1"]
    assert (await client.reset_camera("sim0")).state == pb.Camera.STATE_READY
    assert "simulated" in {d.driver for d in (await client.discover_cameras()).devices}
    frame = await client.get_frame("sim0", max_width_px=100, timeout=10)
    assert frame.width_px == 100
    assert -0.1 < frame.age_s < 5
    capture = (await client.capture("sim0", labels={"a": "b"})).capture
    await client.capture("sim1")
    found = [c async for c in client.list_captures(labels={"a": "b"}, states=["succeeded"])]
    assert found == [capture]
    listed = client.list_captures(page_size=1)
    assert [(await anext(listed)).camera for _ in range(2)] == ["sim1", "sim0"]
    await client.delete_capture(capture.capture_id)
    with pytest.raises(CaptureNotFound):
        await client.get_capture(capture.capture_id)
