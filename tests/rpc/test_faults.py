"""Whatever a driver does, the call is answered in time, with a picture that is whole and fresh."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import RpcErrorInfo, error_info

from tests.conftest import StartService
from tests.process.test_metrics import scrape
from tests.rpc.test_health import NOT_SERVING, SERVING
from tests.rpc.test_health import status as health
from tests.support import plugins
from tests.support.pictures import assert_fresh, number
from tests.support.scenes import HANGS, camera, fault
from tests.support.service import CALL_S, Service
from tests.support.timing import timing
from tests.support.waiting import until

ATTEMPT_S = 1.0
OPEN_S = 0.2
SLACK_S = 0.5
DISCONNECTED_S = 3.0
FAULTS = [*HANGS, "crash", "exit", "error", "corrupt", "stale", "slow"]

Step = pb.RecoveryStatistics
GOOD, WARNING, CRITICAL = (
    pb.Camera.HEALTH_GOOD,
    pb.Camera.HEALTH_WARNING,
    pb.Camera.HEALTH_CRITICAL,
)


def struck(kind: str, on: str = "capture", at: int = 2, **keys: Any) -> str:
    """Settings of a camera that is struck once: by default at its second capture."""
    known = {"attempt_timeout_s": ATTEMPT_S, "open_duration_s": OPEN_S, "open_timeout_s": 20.0}
    return camera(faults=[fault(kind, on, at)], **{**known, **keys})


async def failed(call: Awaitable[api.CaptureResponse]) -> RpcErrorInfo:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_info(caught.value)


async def rungs(service: Service) -> dict["Step.Rung.ValueType", int]:
    """Return how often each rung of the ladder brought the camera back."""
    recoveries = (await service.camera()).camera.statistics.recoveries
    for recovery in recoveries:
        assert recovery.HasField("last_duration") == (recovery.count > 0)
    return {recovery.rung: recovery.count for recovery in recoveries if recovery.count}


@pytest.mark.timed
@pytest.mark.parametrize("kind", FAULTS)
async def test_the_same_call_succeeds_at_its_second_attempt(
    start_service: StartService, kind: str
) -> None:
    service = await start_service(struck(kind))
    seen = number(await service.capture())
    asked_ns = time.time_ns()
    with timing() as took:
        response = await service.capture()
    took.assert_within(ATTEMPT_S + SLACK_S + OPEN_S)
    assert response.capture.attempts == 2
    assert response.capture.recoveries == 1
    assert_fresh(response, asked_ns=asked_ns, newer_than=seen)
    shown = (await service.camera()).camera
    assert shown.state == pb.Camera.STATE_READY
    assert not shown.HasField("fault")
    assert (shown.statistics.captures_succeeded, shown.statistics.captures_failed) == (2, 0)


@pytest.mark.timed
async def test_a_camera_disconnected_for_3_s(start_service: StartService) -> None:
    """The call that meets it is refused with the cause, and the camera found when it is back."""
    service = await start_service(struck("disconnect"))
    seen = number(await service.capture())
    with timing() as took:
        info = await failed(service.capture())
        assert info.reason == "CAMERA_UNAVAILABLE"
        assert "simulated disconnection" in info.message
        await service.wait_for_state(pb.Camera.STATE_READY)
    assert took.s > DISCONNECTED_S
    took.assert_within(DISCONNECTED_S + 1.5 + OPEN_S)
    asked_ns = time.time_ns()
    assert_fresh(await service.capture(), asked_ns=asked_ns, newer_than=seen)
    assert Step.RUNG_BACK_OFF in await rungs(service)


async def test_a_driver_that_is_ill_for_a_moment_costs_no_capture(
    start_service: StartService,
) -> None:
    """Nor a client without retries of its own: the attempts have growing pauses in between."""
    options = {"ill_s": "0.6"}
    service = await start_service(
        camera("ill", driver="plugins:IllCamera", env=plugins.ENV, options=options)
    )
    assert (await service.capture("ill")).capture.attempts == 3


async def test_a_camera_that_fails_again_and_again_is_not_called_healthy(
    start_service: StartService,
) -> None:
    """Though it is READY after each failure."""
    service = await start_service(
        camera("ill", driver="plugins:IllCamera", env=plugins.ENV, attempts=1, options={})
        + camera("well")
    )
    seen = []
    for _ in range(5):
        await failed(service.capture("ill"))
        await service.wait_for_state(pb.Camera.STATE_READY, "ill")
        shown = (await service.camera("ill")).camera
        seen.append((shown.statistics.consecutive_failures, shown.health))
    assert seen == [(1, GOOD), (2, GOOD), (3, WARNING), (4, WARNING), (5, CRITICAL)]
    assert await health(service, "camera/ill") == NOT_SERVING
    assert await health(service, "camera/well") == SERVING
    samples = await scrape(service)
    assert samples["camsvc_consecutive_failures", frozenset({"camera": "ill"}.items())] == 5
    assert shown.worker_pid in {worker.pid for worker in service.workers()}


async def test_a_worker_that_itself_holds_its_device_is_replaced(
    start_service: StartService,
) -> None:
    """To its driver, that looks like another program, for which one would wait for ever."""
    service = await start_service(
        camera(driver="plugins:KeepingCamera", env=plugins.ENV, attempts=3)
    )
    response = await service.capture(timeout=CALL_S)
    assert response.capture.attempts == 3
    assert await rungs(service) == {
        Step.RUNG_SOFT_RETRY: 1,
        Step.RUNG_REOPEN: 1,
        Step.RUNG_RESTART: 1,
    }


async def test_a_permanent_fault_says_what_to_do_and_reset_brings_the_camera_back(
    start_service: StartService,
) -> None:
    service = await start_service(struck("permanent"))
    seen = number(await service.capture())
    for _ in range(2):
        info = await failed(service.capture())
        assert (info.code, info.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "CAMERA_FAULTED",
        )
        assert "'sim0'" in info.message
        assert "reset the camera" in info.message
        assert info.retry_delay_s is None
    shown = (await service.camera()).camera
    assert shown.state == pb.Camera.STATE_FAULTED
    assert "reset the camera" in shown.fault.message
    reset = await service.stub.ResetCamera(api.ResetCameraRequest(camera="sim0"), timeout=CALL_S)
    assert reset.camera.state == pb.Camera.STATE_READY
    assert number(await service.capture()) > seen


@pytest.mark.timed
@pytest.mark.parametrize("kind", HANGS)
async def test_a_deadline_of_1_s_is_kept_and_the_next_capture_succeeds(
    start_service: StartService, kind: str
) -> None:
    service = await start_service(struck(kind, attempt_timeout_s=10.0))
    seen = number(await service.capture())
    with timing() as took:
        info = await failed(service.capture(timeout=1))
    asked_ns = time.time_ns()
    response = await service.capture()
    assert info.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert took.s >= 0.95
    took.assert_within(1.1)
    assert_fresh(response, asked_ns=asked_ns, newer_than=seen)


@pytest.mark.timed
async def test_without_a_deadline_a_call_ends_within_the_published_worst_case(
    start_service: StartService,
) -> None:
    faults = [fault("hang", times=0)]
    service = await start_service(
        camera(faults=faults, attempts=2, attempt_timeout_s=0.5, open_timeout_s=2.0)
    )
    worst_s = (await service.camera()).camera.worst_case_capture_duration.ToTimedelta()
    with timing() as took:
        info = await failed(service.capture(timeout=None))
    took.assert_within(worst_s.total_seconds())
    assert (info.code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "CAMERA_UNAVAILABLE")
    assert "2 of 2 attempts" in info.message
    assert info.metadata["attempts"] == "2"
    assert info.retry_delay_s
    statistics = (await service.camera()).camera.statistics
    assert (statistics.captures_failed, statistics.consecutive_failures) == (1, 2)


@pytest.mark.parametrize("kind", [*HANGS, "crash", "exit", "error"])
async def test_a_fault_while_opening_does_not_fail_the_first_capture(
    start_service: StartService, kind: str
) -> None:
    hung = kind in HANGS  # then the open time-out costs one attempt
    open_timeout_s = 3.0 if hung else 20.0
    service = await start_service(struck(kind, on="open", at=1, open_timeout_s=open_timeout_s))
    asked_ns = time.time_ns()
    response = await service.capture()
    assert_fresh(response, asked_ns=asked_ns, newer_than=0)
    assert response.capture.attempts == (2 if hung else 1)
    used = await rungs(service)
    assert sum(used.values()) == 1
    assert Step.RUNG_SOFT_RETRY not in used, "a device that did not open is not open"


async def test_a_permanent_fault_while_opening_refuses_and_reset_brings_the_camera_back(
    start_service: StartService,
) -> None:
    service = await start_service(struck("permanent", on="open", at=1))
    info = await failed(service.capture())
    assert info.reason == "CAMERA_FAULTED"
    assert "reset the camera" in info.message
    await service.stub.ResetCamera(api.ResetCameraRequest(camera="sim0"), timeout=CALL_S)
    assert number(await service.capture()) == 1


@pytest.mark.parametrize("kind", [*HANGS, "crash", "error"])
async def test_a_fault_while_setting_controls_does_not_fail_the_call(
    start_service: StartService, kind: str
) -> None:
    service = await start_service(struck(kind, on="set_controls", at=1))
    await service.capture()
    gain = pb.ControlSetting(name="gain", value=pb.ControlValue(double_value=4))
    request = api.SetControlsRequest(camera="sim0", controls=[gain])
    response = await service.stub.SetControls(request, timeout=CALL_S)
    values = {control.name: control.value.double_value for control in response.controls}
    assert values["gain"] == 4
    taken = (await service.capture()).capture.controls
    assert next(c for c in taken if c.name == "gain").value.double_value == 4


async def test_each_rung_is_counted_and_timed(start_service: StartService) -> None:
    """One failure is met softly, a second in a row by opening anew, a dead worker by another."""
    faults = [fault("error", at=2), fault("error", at=4, times=2), fault("crash", at=7)]
    service = await start_service(camera(faults=faults))
    for _ in range(4):
        await service.capture()
    assert await rungs(service) == {
        Step.RUNG_SOFT_RETRY: 2,
        Step.RUNG_REOPEN: 1,
        Step.RUNG_RESTART: 1,
    }


@pytest.mark.parametrize("kind", ["", *HANGS])
async def test_a_client_that_leaves_in_the_middle_does_not_wedge_the_camera(
    start_service: StartService, kind: str
) -> None:
    faults = [fault(kind, at=2)] if kind else []
    service = await start_service(camera(faults=faults, capture_duration_s=0.3))
    seen = number(await service.capture())
    for _ in range(2):
        leaving = asyncio.create_task(service.capture())

        async def holds() -> bool:
            return (await service.camera()).camera.HasField("active_capture")

        await until(holds, "the capture holds the camera")
        leaving.cancel()
        await asyncio.wait([leaving])

        async def free() -> bool:
            return not await holds()

        await until(free, "nobody holds the camera", within_s=5)
    asked_ns = time.time_ns()
    assert_fresh(await service.capture(timeout=CALL_S), asked_ns=asked_ns, newer_than=seen)


async def test_a_client_that_left_holds_the_camera_against_nobody(
    start_service: StartService,
) -> None:
    """The next capture is admitted at once, while the shot under way is ended, not killed."""
    service = await start_service(camera(capture_duration_s=1.5))
    seen = number(await service.capture())
    workers = {worker.pid for worker in service.workers()}
    leaving = asyncio.create_task(service.capture())
    await service.wait_for_state(pb.Camera.STATE_CAPTURING)
    leaving.cancel()
    await asyncio.wait([leaving])

    async def free() -> bool:
        return not (await service.camera()).camera.HasField("active_capture")

    await until(free, "the service knows that the client has left", within_s=0.5)
    response = await service.capture(timeout=CALL_S)
    assert number(response) == seen + 2
    assert response.capture.attempts == 1
    assert workers <= {worker.pid for worker in service.workers()}
