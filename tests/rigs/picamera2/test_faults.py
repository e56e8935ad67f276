"""The ways in which Picamera2 fails, on the real library: bounded, told, and over by themselves."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import error_info

from tests.conftest import StartService
from tests.rigs.back import Back
from tests.rigs.picamera2.rig import Fault, RigCamera
from tests.support import endurance
from tests.support.history import refusal
from tests.support.live import Status, Watcher
from tests.support.scenes import camera
from tests.support.service import Service
from tests.support.timing import Timings, timing

pytestmark = [pytest.mark.rig, pytest.mark.timed]

FRAME_S = 1.0
"""The driver's own time-out in these tests."""
LIBRARY_S = 5.0
"""After which the driver's process ends itself where the library hangs."""
BACK_S = 3.0
"""Within which a camera is back after its fault's end."""
REST_S = 0.5 + 0.3
"""What restarting a stuck ISP takes."""
SLACK_S = 1.0
USUAL_S = 0.4
"""Of a still during the other camera's fault; 0.05 s on a machine with nothing else to do."""

LASTS_S = endurance.times(40)
"""How long a fault goes on after it was told."""
LASTING = [Fault.SILENT, Fault.BLOCK, Fault.ERROR, Fault.REFUSE, Fault.CRASH]
Step = pb.RecoveryStatistics


def both(cameras: Sequence[RigCamera], **keys: Any) -> str:
    known = {"frame_timeout_s": FRAME_S, "open_timeout_s": 30.0, "attempts": 2, **keys}
    return "".join(
        c.settings(name, **known) for c, name in zip(cameras, ("ill", "well"), strict=True)
    )


async def opened(start_service: StartService, settings: str) -> Service:
    """Return a service whose cameras are open, and have each taken a picture."""
    service = await start_service(settings)
    for name in ("ill", "well"):
        await service.capture(name)
    return service


async def rungs(service: Service, name: str = "ill") -> set["Step.Rung.ValueType"]:
    recoveries = (await service.camera(name)).camera.statistics.recoveries
    return {recovery.rung for recovery in recoveries if recovery.count}


@asynccontextmanager
async def nothing_of_it_at(service: Service, name: str) -> AsyncIterator[None]:
    """The other camera's stills go on meanwhile: each at its first attempt, and quickly."""
    stills = Timings()

    async def go_on() -> None:
        while True:
            with stills.one():
                response = await service.capture(name)
            assert response.capture.attempts == 1

    going_on = asyncio.create_task(go_on())
    try:
        yield
        assert not going_on.done(), going_on.exception()
    finally:
        going_on.cancel()
        await asyncio.wait([going_on])
    print(f"{name}: {stills}")
    assert len(stills.all) > 1
    stills.assert_within(USUAL_S, percent=50)
    stills.assert_within(FRAME_S + SLACK_S)  # none waits for what the other waits for
    assert await rungs(service, name) == set()


@pytest.mark.parametrize("kind", LASTING)
async def test_a_lasting_fault_is_told_in_time_and_over_soon_after_its_end(
    start_service: StartService, pi_cameras: Sequence[RigCamera], kind: Fault
) -> None:
    ill = pi_cameras[0]
    service = await opened(start_service, both(pi_cameras, attempts=1))
    async with nothing_of_it_at(service, "well"):
        ill.fault(kind)
        with timing() as refused, pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.capture("ill", timeout=None)
        await asyncio.sleep(LASTS_S)
        back = Back(service)
        ill.fault(Fault.NONE)
        await service.wait_for_state(pb.Camera.STATE_READY, "ill")
        back.assert_within(BACK_S)
    info = error_info(caught.value)
    print(f"{kind.name}: {info.message}")
    assert info.reason == "CAMERA_UNAVAILABLE"
    refused.assert_within(FRAME_S + SLACK_S)
    assert (await service.capture("ill")).capture.attempts == 1


@pytest.mark.parametrize("kind", [Fault.SILENT, Fault.BLOCK])
async def test_a_fault_that_stays_is_told_within_the_published_worst_case(
    start_service: StartService, pi_cameras: Sequence[RigCamera], kind: Fault
) -> None:
    """All attempts fail; afterwards the camera comes back by itself all the same."""
    settings = both(pi_cameras, attempts=2, attempt_timeout_s=3.0)
    service = await opened(start_service, settings)
    worst = (await service.camera("ill")).camera.worst_case_capture_duration
    async with nothing_of_it_at(service, "well"):
        pi_cameras[0].fault(kind)
        with timing() as took, pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.capture("ill", timeout=None)
        pi_cameras[0].fault(Fault.NONE)
        await service.wait_for_state(pb.Camera.STATE_READY, "ill")
    info = error_info(caught.value)
    print(f"{kind.name}: {info.message}")
    assert (info.reason, info.metadata["attempts"]) == ("CAMERA_UNAVAILABLE", "2")
    took.assert_within(worst.ToTimedelta().total_seconds())


async def test_a_stuck_isp_costs_one_attempt_and_a_soft_retry(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    service = await opened(start_service, both(pi_cameras))
    workers = {worker.pid for worker in service.workers()}
    async with nothing_of_it_at(service, "well"):
        pi_cameras[0].fault(Fault.STUCK)
        with timing() as took:
            response = await service.capture("ill")
    took.assert_within(FRAME_S + REST_S + SLACK_S)
    assert response.capture.attempts == 2
    assert await rungs(service) == {Step.RUNG_SOFT_RETRY}
    assert workers <= {worker.pid for worker in service.workers()}


async def test_a_stop_that_hangs_with_the_gil_held_ends_the_worker_in_time(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    """No thread of its process runs meanwhile; a timer that needs none ends it."""
    ill = pi_cameras[0]
    service = await opened(start_service, both(pi_cameras, attempts=3))
    worker = [w for w in service.workers() if w.environ().get("RIG_FAULT") == ill.env["RIG_FAULT"]]
    async with nothing_of_it_at(service, "well"):
        ill.fault(Fault.BLOCK)
        with timing() as hung:
            capture = asyncio.create_task(service.capture("ill"))
            ended = await service.logged("worker ended")
        back = Back(service)
        ill.fault(Fault.NONE)
        response = await capture
        back.assert_within(BACK_S)
    assert hung.s > FRAME_S + LIBRARY_S
    hung.assert_within(FRAME_S + LIBRARY_S + SLACK_S)
    assert response.capture.attempts == 2
    assert any(not w.is_running() for w in worker)
    assert Step.RUNG_RESTART in await rungs(service)
    assert "SIGALRM" in ended["how"], "it was its own alarm"
    assert "stop_" in ended["last_words"], "they say where it hung"


async def test_a_dead_event_loop_is_opened_anew(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    """What it died of is told at once: nobody waits for a frame that cannot come."""
    ill = pi_cameras[0]
    service = await opened(start_service, both(pi_cameras, attempts=3))
    ill.fault(Fault.REFUSE)
    with timing() as noticed:
        capture = asyncio.create_task(service.capture("ill"))
        await service.logged("camera lost")
    ill.fault(Fault.NONE)
    response = await capture
    noticed.assert_within(FRAME_S)
    assert response.capture.attempts > 1
    assert "Invalid argument" in service.log_text()


async def test_a_camera_that_does_not_start_is_opened_again_in_the_same_process(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    """Its library lets go of it each time."""
    ill = pi_cameras[0]
    service = await opened(start_service, both(pi_cameras, attempts=1))
    ill.fault(Fault.REFUSE)
    with pytest.raises(grpc.aio.AioRpcError):
        await service.capture("ill")
    async with asyncio.timeout(15):
        await service.logged("recovering", count=7)
    ill.fault(Fault.NONE)
    await service.wait_for_state(pb.Camera.STATE_READY, "ill")
    told = [entry["error"] for entry in service.log() if entry.get("event") == "recovering"]
    assert all("Failed to queue request" in error for error in told), told


@pytest.mark.parametrize("kind", LASTING)
async def test_viewers_are_told_and_see_it_again_soon_after_its_end(
    start_service: StartService, pi_cameras: Sequence[RigCamera], kind: Fault
) -> None:
    ill = pi_cameras[0]
    service = await opened(start_service, both(pi_cameras))
    async with Watcher(service, "ill") as watcher, Watcher(service, "well") as other:
        await watcher.until_frames(5)
        await other.until_frames(5)
        ill.fault(kind)
        await watcher.until_state(Status.STATE_RECOVERING)
        back = Back(service)
        ill.fault(Fault.NONE)
        await watcher.until_frames(5)
        back.assert_within(BACK_S)
    assert watcher.changes == ["STARTING", "LIVE", "RECOVERING", "LIVE"]
    assert other.changes == ["STARTING", "LIVE"]
    assert Step.RUNG_BACK_OFF not in await rungs(service), "its last worker held it no more"


async def test_a_wrong_typed_control_never_reaches_the_library(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    service = await opened(start_service, both(pi_cameras))
    near = pb.ControlSetting(
        name="focus_distance_diopters", value=pb.ControlValue(string_value="near")
    )
    async with Watcher(service, "ill") as watcher:
        await watcher.until_frames(3)
        for call in (
            service.stub.SetControls(api.SetControlsRequest(camera="ill", controls=[near])),
            service.capture("ill", controls=[near]),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            info = error_info(caught.value)
            assert info.reason == "INVALID_REQUEST"
            assert "'near' has the wrong type; allowed: a number from 0 up to 15" in info.message
        await watcher.until_frames(3)
    assert "RECOVERING" not in watcher.changes
    assert (await service.capture("ill")).capture.attempts == 1


async def test_a_wrong_typed_control_of_the_settings_is_told_to_the_operator(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    controls = {"focus_distance_diopters": "near"}
    service = await start_service(pi_cameras[0].settings("ill", controls=controls))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.capture("ill")
    info = error_info(caught.value)
    assert info.reason == "CAMERA_FAULTED"
    assert "focus_distance_diopters" in info.message
    assert "'near' has the wrong type" in info.message


_HOLD = """
from picamera2 import Picamera2
number = [c["Id"] for c in Picamera2.global_camera_info()].index({source!r})
camera = Picamera2(number)
print("held", flush=True)
input()
"""


@asynccontextmanager
async def held_by_another(camera: RigCamera) -> AsyncIterator[asyncio.subprocess.Process]:
    """Have another program hold the camera."""
    process = await asyncio.create_subprocess_exec(
        *(str(camera.python), "-c", _HOLD.format(source=camera.source)),
        env=camera.env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(10):
            assert await process.stdout.readline() == b"held\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_camera_that_another_program_holds_is_told_as_such_and_opens_when_it_is_free(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    service = await start_service(both(pi_cameras, attempts=3))
    await service.capture("well")
    async with held_by_another(pi_cameras[0]) as holder, nothing_of_it_at(service, "well"):
        refused = await refusal(service.capture("ill"))
        shown = (await service.camera("ill")).camera
        assert shown.state == pb.Camera.STATE_AWAY
        for said in (refused.message, shown.fault.message):
            assert "another program holds the camera" in said
        holder.kill()
        await holder.wait()
        back = Back(service)
        await service.wait_for_state(pb.Camera.STATE_READY, "ill")
        back.assert_within(BACK_S)
        assert (await service.capture("ill")).capture.state == pb.Capture.STATE_SUCCEEDED


async def test_without_picamera2_the_camera_says_how_to_install_it(
    start_service: StartService,
) -> None:
    settings = camera("pi", driver="picamera2", python=sys.executable)
    service = await start_service(settings)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.capture("pi")
    info = error_info(caught.value)
    assert info.reason == "CAMERA_FAULTED"
    assert "sudo apt install python3-picamera2" in info.message
