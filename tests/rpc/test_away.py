"""A camera that is away refuses every call at once, with the cause."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import RpcErrorInfo, error_info

from tests.conftest import StartService
from tests.process.test_metrics import scrape
from tests.rpc.test_health import NOT_SERVING
from tests.rpc.test_health import status as health
from tests.rpc.test_hot_plug import Plug
from tests.rpc.test_hot_plug import start as start_plugged
from tests.support import plugins
from tests.support.endurance import times
from tests.support.events import Event, EventReader
from tests.support.groups import group, reason, wanted
from tests.support.history import QUICK
from tests.support.live import Status, Watcher
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.timing import Timings, timing
from tests.support.waiting import until

FIRST_S = 1.0
"""For the first caller, beside what the driver's own look takes."""
STARTED_S = 2.0
"""The driver's process, with its library, when it is not warm yet."""
REFUSED_S = 0.2
EVERY_S = 0.05
CALLS = times(1200)
UNPLUGGED = "it is unplugged"
AVAILABLE = Event.TYPE_CAMERA_AVAILABLE
UNAVAILABLE = Event.TYPE_CAMERA_UNAVAILABLE


@pytest.fixture
def plug(tmp_path: Path) -> Plug:
    plug = Plug(tmp_path)
    plug.pull()
    return plug


def causes(reader: EventReader) -> list[str]:
    return [e.error.message for e in reader.events if e.type == UNAVAILABLE]


async def looked_for(service: Service, times: int) -> None:
    """Wait until the camera has been looked for so often."""

    def looks() -> int:
        return sum(entry["event"] == "recovering" for entry in service.log())

    before = looks()

    async def enough() -> bool:
        return looks() >= before + times

    await until(enough, "the camera is looked for", within_s=CALL_S)


async def refusal(service: Service, camera: str = "cam") -> RpcErrorInfo:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.capture(camera, timeout=CALL_S)
    return error_info(caught.value)


@pytest.mark.timed
async def test_the_first_caller_is_told_the_cause(start_service: StartService, plug: Plug) -> None:
    service = await start_plugged(start_service, plug)
    with timing() as took:
        info = await refusal(service)
    assert (info.reason, UNPLUGGED in info.message) == ("CAMERA_UNAVAILABLE", True), info
    took.assert_within(FIRST_S)


@pytest.mark.timed
@pytest.mark.skipif(sys.platform != "linux", reason="these are Linux's devices")
@pytest.mark.parametrize(
    "settings",
    [
        {"driver": "v4l2", "device": "/dev/video98"},
        {"driver": "v4l2", "serial": "no such camera"},
        {"driver": "opencv", "source": "/dev/video98"},
        {"driver": "opencv", "source": 98},
    ],
    ids=str,
)
async def test_a_device_that_is_not_attached(
    start_service: StartService, settings: dict[str, Any]
) -> None:
    service = await start_service(camera("cam", **settings))
    with timing(*(worker.pid for worker in service.workers())) as took:
        info = await refusal(service)
    assert info.reason == "CAMERA_UNAVAILABLE"
    assert "no camera is attached" in info.message
    took.assert_within(FIRST_S + STARTED_S)


@pytest.mark.timed
async def test_a_caller_every_50_ms_is_never_kept(start_service: StartService, plug: Plug) -> None:
    """Whether or not it comes while the camera is looked for: each is refused with the cause."""
    service = await start_plugged(start_service, plug)
    await refusal(service)
    refused, reasons = Timings(), set[tuple[str | None, bool]]()

    async def call() -> None:
        with refused.one():
            info = await refusal(service)
        reasons.add((info.reason, UNPLUGGED in info.message))

    async with asyncio.TaskGroup() as calls:
        for _ in range(CALLS):
            calls.create_task(call())
            await asyncio.sleep(EVERY_S)
    print(refused)
    assert reasons == {("CAMERA_UNAVAILABLE", True)}
    refused.assert_within(REFUSED_S)


@pytest.mark.timed
async def test_the_caller_who_meets_the_loss(start_service: StartService, plug: Plug) -> None:
    """It does not wait for a camera that was just unplugged, and is told what happened."""
    plug.put_in()
    service = await start_plugged(start_service, plug)
    await service.capture("cam")
    for _ in range(5):
        plug.pull()
        with timing() as took:
            info = await refusal(service)
        took.assert_within(FIRST_S)
        assert (info.reason, UNPLUGGED in info.message) == ("CAMERA_UNAVAILABLE", True), info
        plug.put_in()
        await service.wait_for_state(pb.Camera.STATE_READY, "cam")


@pytest.mark.timed
async def test_a_group_does_not_wait_for_a_camera_that_is_away(
    start_service: StartService, plug: Plug
) -> None:
    options = {"plug": str(plug.path)}
    service = await start_service(
        camera("cam", driver="plugins:PluggedCamera", env=plugins.ENV, options=options)
        + camera("sim0", **QUICK)
    )
    await service.capture("sim0")
    with timing() as took:
        response = await group(service, wanted(["cam", "sim0"]))
    took.assert_within(FIRST_S)
    away, there = response.results
    assert reason(away.error) == "CAMERA_UNAVAILABLE"
    assert UNPLUGGED in away.error.message
    assert there.HasField("capture")


async def test_each_change_of_the_cause_is_one_line_and_one_event(
    start_service: StartService, plug: Plug
) -> None:
    """However often the camera is looked for in between."""
    service = await start_plugged(start_service, plug)
    async with EventReader(service) as reader:
        await refusal(service)
        for cause in ("claimed by gvfs", "no rights"):
            await looked_for(service, times=3)
            plug.say(cause)
            count = len(causes(reader))
            await reader.until(lambda: len(causes(reader)) > count, cause)  # noqa: B023 - at once
        plug.put_in()
        await service.wait_for_state(pb.Camera.STATE_READY, "cam")
        await reader.until(lambda: AVAILABLE in [e.type for e in reader.events], "it is back")
    assert [cause.rpartition(": ")[2] for cause in causes(reader)] == [
        UNPLUGGED,
        "claimed by gvfs",
        "no rights",
    ]
    lines = [entry["error"] for entry in service.log() if entry["event"] == "camera lost"]
    assert lines == [UNPLUGGED, "claimed by gvfs", "no rights"]


async def test_it_is_one_state_for_all_who_ask(start_service: StartService, plug: Plug) -> None:
    """Calls, viewers, health, metrics and the camera itself say the same."""
    service = await start_plugged(start_service, plug)
    async with Watcher(service, "cam") as watcher:
        status = await watcher.until_state(Status.STATE_RECOVERING)
        assert status.reason == f"the camera is away: {UNPLUGGED}"
        await service.wait_for_state(pb.Camera.STATE_AWAY, "cam")
        camera = (await service.camera("cam")).camera
        assert UNPLUGGED in camera.fault.message
        assert camera.health == pb.Camera.HEALTH_GOOD, "it does not fail, it is not there"
        assert await health(service, "camera/cam") == NOT_SERVING
        samples = await scrape(service)
        state = frozenset({"camera": "cam", "state": "AWAY"}.items())
        assert samples["camsvc_camera_state", state] == 1
        for call in (
            service.stub.ListControls(api.ListControlsRequest(camera="cam"), timeout=CALL_S),
            service.stub.GetFrame(api.GetFrameRequest(camera="cam"), timeout=CALL_S),
            service.stub.ResetCamera(api.ResetCameraRequest(camera="cam"), timeout=CALL_S),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert UNPLUGGED in error_info(caught.value).message
