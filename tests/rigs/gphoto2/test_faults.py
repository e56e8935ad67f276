"""However libgphoto2 and its cameras fail: answered in time, back by itself, no other touched."""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import RpcErrorInfo

from tests.rigs.back import Back
from tests.rigs.gphoto2.conftest import StartCamera
from tests.rigs.gphoto2.control import Fault, Value
from tests.rigs.gphoto2.rig import Rig
from tests.support import endurance
from tests.support.history import refusal
from tests.support.live import Status, Watcher
from tests.support.service import CALL_S, Service
from tests.support.timing import timing
from tests.support.waiting import finished, until

pytestmark = [pytest.mark.rig, pytest.mark.timed]

BACK_S = 3.0
"""After the end of its fault, a camera is back."""
FAULT_S = endurance.times(40)
"""Long enough to reach the last step of recovery, and to wait there."""
LIBRARYS_WAITS = 21
"""How often libgphoto2 asks a camera whether it is ready, before it gives it up as busy."""
ANSWER_S = 2.0
"""GetCamera asks no camera."""
DSLR = "dslr"
CRASH = """
import os
import gphoto2
os.environ["IOLIBS"], os.environ["HOME"] = os.environ["RIG_IOLIBS"], "/dev/null"
camera = gphoto2.Camera()
camera.init()
aperture = camera.get_single_config("f-number")
aperture.set_value("f/99")
camera.set_single_config("f-number", aperture)
print("taken", flush=True)
camera.get_single_config("f-number").get_value()
"""
"""What the library does by itself."""

Step = pb.RecoveryStatistics


async def shown(service: Service) -> pb.Camera:
    with timing() as took:
        camera = (await service.camera(DSLR)).camera
    took.assert_within(ANSWER_S)
    return camera


async def failed(service: Service, **fields: Any) -> RpcErrorInfo:
    """Return how a capture ends that has no deadline of its own."""
    return await refusal(service.capture(DSLR, timeout=None, **fields))


@asynccontextmanager
async def other_untouched(service: Service) -> AsyncIterator[None]:
    """Take pictures with the other camera meanwhile: each at its first attempt, by one worker."""
    done = asyncio.Event()

    async def take() -> None:
        while not done.is_set():
            capture = (await service.capture()).capture
            assert (capture.attempts, capture.recoveries) == (1, 0)

    taking = asyncio.create_task(take())
    yield
    done.set()
    await taking
    assert not (await service.camera()).camera.statistics.recoveries


async def is_back(service: Service, rig: Rig) -> None:
    """End the fault; the camera takes pictures again in time."""
    back = Back(service)
    rig.control.fault = Fault.NONE
    before = rig.control.told("captures")

    async def takes() -> bool:
        try:
            await service.capture(DSLR)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return True

    await until(takes, "it takes pictures again", within_s=BACK_S)
    back.assert_within(BACK_S)
    assert rig.control.told("captures") > before
    assert (await shown(service)).state == pb.Camera.STATE_READY


SOME = 2 + int(FAULT_S / 5)
"""Resets of a USB port: while in use, at the first opening, and then at few."""


@pytest.mark.parametrize(
    ("fault", "says", "resets"),
    [
        (Fault.UNPLUGGED, "unplugged or switched off", 0),
        (Fault.IO_ERROR, "the connection to the camera is disturbed", SOME),
        (Fault.BUSY, "is busy with something else (libgphoto2 says -110, I/O in progress, PTP", 0),
        (Fault.NO_EVENTS, "reported no picture within 1.01 s", 1),
        (Fault.HANG, "was not answered within 3", 0),
        (Fault.UNFOCUSED, "usually because it cannot focus", 0),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_a_fault_during_use(
    start_camera: StartCamera, rig: Rig, fault: Fault, says: str, resets: int
) -> None:
    """libgphoto2 itself waits 2 s for a camera that is busy."""
    service = await start_camera(attempts=1, attempt_timeout_s=3.0)
    await service.capture(DSLR)
    async with other_untouched(service):
        rig.control.fault = fault
        started = time.monotonic()
        with timing() as took:
            info = await failed(service)
        took.assert_within(5.0)
        assert info.reason == "CAMERA_UNAVAILABLE"
        assert says in info.message
        assert info.retry_delay_s
        while time.monotonic() < started + FAULT_S:
            camera = await shown(service)
            assert camera.state != pb.Camera.STATE_FAULTED
            await asyncio.sleep(0.1)
        await is_back(service, rig)
    assert rig.control.told("resets") <= resets


async def test_a_card_that_takes_no_picture_is_told_by_one_press_and_harms_nothing_else(
    start_camera: StartCamera, rig: Rig
) -> None:
    """Only a person can do something about it, and nothing of the camera's needs a reset."""
    service = await start_camera(capture_target="card")
    async with Watcher(service, DSLR) as watcher:
        await watcher.until_frames(1)
        for presses, (code, reason, says) in enumerate(
            (
                (0x200C, "STORAGE_FULL", "its card is full (change or empty it)"),
                (0x200D, "STORAGE_UNAVAILABLE", "the camera's card is protected"),
                (0x200E, "STORAGE_UNAVAILABLE", "the camera's card is protected"),
                (0x2013, "STORAGE_UNAVAILABLE", "the camera has no card that it can write to"),
                (0xA021, "STORAGE_UNAVAILABLE", "the camera's card is broken"),
            ),
            start=1,
        ):
            rig.control.refuse(code)
            info = await failed(service)
            assert info.reason == reason
            assert says in info.message
            assert rig.control.told("refused") == presses
            await watcher.until_frames(2)
            rig.control.refuse(0)
            assert (await service.capture(DSLR)).capture.attempts == 1
    assert not (await shown(service)).statistics.recoveries


async def test_a_memory_that_is_full_may_be_so_of_an_earlier_connections_pictures(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera(capture_target="ram")
    await service.capture(DSLR)
    rig.control.refuse(0x200C)
    info = await failed(service)
    assert info.reason == "STORAGE_FULL"
    assert "or its memory is" in info.message
    assert rig.control.told("refused") == 2, "once more, after it was connected again"
    rig.control.refuse(0)
    await service.capture(DSLR)


async def test_why_a_shutter_is_not_released_is_told_by_the_cameras_answer(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera(attempts=1)
    for code, says in (
        (0xA002, "usually because it cannot focus"),
        (0x2002, "usually because it cannot focus"),
        (0xA001, "a fault of its own: switch it off and on"),
        (0xA008, "shutter is set to bulb or time"),
        (0x200F, "the camera refused (libgphoto2 says -1, Unspecified error; PTP response 0x200F)"),
    ):
        rig.control.refuse(code)
        info = await failed(service)
        assert info.reason == "CAMERA_UNAVAILABLE"
        assert says in info.message
        rig.control.refuse(0)
        await service.capture(DSLR)


async def test_a_disturbance_while_a_control_is_set_is_not_the_requests_fault(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera()
    await service.capture(DSLR)

    def put(iso: int) -> Awaitable[object]:
        value = pb.ControlValue(string_value=str(iso))
        setting = pb.ControlSetting(name="iso", value=value)
        request = api.SetControlsRequest(camera=DSLR, controls=[setting])
        return service.stub.SetControls(request, timeout=CALL_S)

    for fault, seconds, iso in (
        (Fault.IO_ERROR, 0.3, 200),
        (Fault.WEDGED, 60, 400),
        (Fault.BUSY, 0.3, 800),
    ):
        rig.control.strike(fault, -1, seconds)
        await put(iso)
        assert rig.control.value(Value.ISO) == iso
    rig.control.strike(Fault.UNPLUGGED, -1, 0.5)
    info = await refusal(put(1600))
    assert info.reason == "CAMERA_UNAVAILABLE"
    assert "setting iso failed: the camera is gone" in info.message


async def test_a_camera_that_writes_its_last_picture_is_waited_for(
    start_camera: StartCamera, rig: Rig
) -> None:
    """libgphoto2 gives up after 2 s; a reset of the port would hit a camera that is writing."""
    service = await start_camera(attempt_timeout_s=8.0, file_timeout_s=6.0)
    await service.capture(DSLR)
    rig.control.fault = Fault.WRITING
    waiting = asyncio.create_task(service.capture(DSLR))

    async def tried_again() -> bool:
        return rig.control.told("waits") > LIBRARYS_WAITS

    await until(tried_again, "the library has given up, and was asked again", within_s=6)
    rig.control.fault = Fault.NONE
    capture = (await waiting).capture
    assert (capture.attempts, capture.recoveries) == (1, 0)
    assert rig.control.told("resets") == 0


async def test_a_camera_that_another_program_has(start_camera: StartCamera, rig: Rig) -> None:
    rig.control.fault = Fault.CLAIMED
    service = await start_camera()
    async with other_untouched(service):
        refused = await refusal(service.capture(DSLR))
        for said in (refused.message, (await shown(service)).fault.message):
            assert "another program has the camera" in said
            assert "gvfs-gphoto2-volume" in said
        back = Back(service)
        rig.control.fault = Fault.NONE
        await service.wait_for_state(pb.Camera.STATE_READY, DSLR)
        back.assert_within(BACK_S)
        await service.capture(DSLR)


async def test_live_view_that_the_library_asks_for_without_end(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera()
    async with other_untouched(service), Watcher(service, DSLR) as watcher:
        await watcher.until_frames(3)
        rig.control.fault = Fault.NOT_LIVE
        await watcher.until_state(Status.STATE_RECOVERING, within_s=4)
        again = time.monotonic() + FAULT_S
        while time.monotonic() < again:
            await shown(service)
            await asyncio.sleep(0.1)
        rig.control.fault = Fault.NONE
        await watcher.until_frames(3, within_s=BACK_S)


async def test_a_value_that_would_crash_the_library(start_camera: StartCamera, rig: Rig) -> None:
    """It takes an aperture that the lens does not have, and crashes when it reads that back."""
    bare = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CRASH),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **rig.env, "RIG_IOLIBS": str(rig.settings["iolibs"])},
    )
    assert await finished(bare, within_s=20) == (-signal.SIGSEGV, "taken\n", "")
    service = await start_camera()
    await service.capture(DSLR)
    workers = {worker.pid for worker in service.workers()}
    for value in ("f/99", "", "f/2.80"):
        setting = pb.ControlSetting(name="aperture", value=pb.ControlValue(string_value=value))
        request = api.SetControlsRequest(camera=DSLR, controls=[setting])
        info = await refusal(service.stub.SetControls(request, timeout=CALL_S))
        assert info.reason == "INVALID_REQUEST"
        assert "allowed: f/2.8, f/3.5, f/4" in info.message
        info = await failed(service, controls=[setting])
        assert info.reason == "INVALID_REQUEST"
    await service.capture(DSLR)
    assert {worker.pid for worker in service.workers()} == workers


async def test_more_pictures_than_the_virtual_camera_takes(
    start_camera: StartCamera, rig: Rig
) -> None:
    """After 26 its card is full until it is connected anew; every call has its picture."""
    service = await start_camera()
    await service.capture(DSLR)
    async with other_untouched(service):
        for _ in range(30):
            back = Back(service)
            await service.capture(DSLR)
            back.assert_within(BACK_S)
    assert sum(r.count for r in (await shown(service)).statistics.recoveries) >= 1


async def test_what_only_a_reset_of_the_usb_port_mends(start_camera: StartCamera, rig: Rig) -> None:
    service = await start_camera()
    await service.capture(DSLR)
    rig.control.fault = Fault.WEDGED
    await service.capture(DSLR, timeout=CALL_S)  # it, or the look after the camera, meets the fault
    assert rig.control.told("resets") == 1
    used = (await shown(service)).statistics.recoveries
    assert [(r.rung, r.count) for r in used] == [(Step.RUNG_SOFT_RETRY, 1)]


async def test_what_a_killed_worker_leaves_is_mended_when_it_is_opened(
    start_camera: StartCamera, rig: Rig
) -> None:
    """A camera whose transfer was cut off answers nothing until its USB port is reset."""
    rig.control.fault = Fault.WEDGED
    service = await start_camera()
    await service.capture(DSLR, timeout=CALL_S)
    assert rig.control.told("resets") == 1


async def test_an_idle_camera_is_missed_when_it_is_unplugged(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera()
    await service.capture(DSLR)
    rig.control.fault = Fault.UNPLUGGED
    await service.wait_for_state(pb.Camera.STATE_RECOVERING, DSLR)
    assert re.search("unplugged|not attached", (await shown(service)).fault.message)
    back = Back(service)
    rig.control.fault = Fault.NONE
    await service.wait_for_state(pb.Camera.STATE_READY, DSLR)
    back.assert_within(BACK_S)


async def test_what_the_library_remembers_is_not_told_of_an_unplugged_camera(
    start_camera: StartCamera, rig: Rig
) -> None:
    """It lists settings and files of a camera that is gone, and calls that a success."""
    service = await start_camera(attempts=1)
    await service.capture(DSLR)
    rig.control.fault = Fault.UNPLUGGED
    request = api.ListControlsRequest(camera=DSLR)
    info = await refusal(service.stub.ListControls(request, timeout=CALL_S))
    assert info.reason == "CAMERA_UNAVAILABLE"
