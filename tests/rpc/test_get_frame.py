"""One frame for each caller, however many there are, from the reads that are made anyway."""

import asyncio
import time
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub
from camsvc_client import RpcErrorInfo, error_info
from google.protobuf.duration_pb2 import Duration

from tests.conftest import StartService
from tests.support import plugins
from tests.support.live import Watcher, number_in, pixels_of
from tests.support.pictures import number
from tests.support.scenes import HANGS, camera, fault
from tests.support.service import CALL_S, Service
from tests.support.timing import Timings, timing

CALLERS, ROUNDS, CHANNELS = 100, 10, 4
ALL_S = 0.200
"""In which all of them have their frames."""
FPS = 30
EXPOSURE_S = 1.5


async def frame_of(service: Service, camera_id: str = "sim0", **fields: Any) -> pb.LiveFrame:
    timeout_s = fields.pop("timeout", CALL_S)
    request = api.GetFrameRequest(camera=camera_id, **fields)
    return (await service.stub.GetFrame(request, timeout=timeout_s)).frame


async def refused(service: Service, **fields: Any) -> RpcErrorInfo:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await frame_of(service, **fields)
    return error_info(caught.value)


def acquired_ns(frame: pb.LiveFrame) -> int:
    return frame.acquisition_time.ToNanoseconds()


def exposed_for(seconds: float) -> list[pb.ControlSetting]:
    value = pb.ControlValue(int_value=int(seconds * 1e6))
    return [pb.ControlSetting(name="exposure_duration_us", value=value)]


@pytest.mark.timed
async def test_100_callers_share_reads_and_all_succeed_ten_times_in_a_row(
    start_service: StartService,
) -> None:
    service = await start_service(camera())
    first = await frame_of(service)
    channels = [service.connect() for _ in range(CHANNELS)]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    stubs = [CameraServiceStub(channel) for channel in channels]
    timings = Timings()

    async def call(stub: Any) -> pb.LiveFrame:
        asked_ns = time.time_ns()
        frame: pb.LiveFrame = (await stub.GetFrame(request, timeout=CALL_S)).frame
        assert asked_ns <= acquired_ns(frame) <= time.time_ns(), "taken after the call"
        return frame

    request, last, due = api.GetFrameRequest(camera="sim0"), first, 0.0
    for _ in range(ROUNDS):
        with timings.one() as took:
            frames = await asyncio.gather(*(call(stubs[n % CHANNELS]) for n in range(CALLERS)))
        last = frames[-1]
        shared = len({frame.sequence for frame in frames})
        assert shared <= 3 + FPS * took.s, "a hundred callers take a few frames, not a hundred"
        due += 3 + FPS * took.s
    await asyncio.gather(*(channel.close() for channel in channels))
    print(timings)
    timings.assert_within(ALL_S)
    read = number_in(last) - number_in(first)
    assert read <= due, f"{read} frames were read for {CALLERS * ROUNDS} callers"


async def test_without_max_age_the_frame_was_taken_after_the_call(
    start_service: StartService,
) -> None:
    """Also when frames flow, and one is on its way as the call arrives."""
    service = await start_service(camera(fps=60, width_px=1280, height_px=720))
    async with Watcher(service) as watcher:
        await watcher.until_frames()
        seen = 0
        for n in range(50):
            await asyncio.sleep(n % 10 / 500)  # calls come at any moment of a frame's way
            asked_ns = time.time_ns()
            frame = await frame_of(service)
            assert asked_ns <= acquired_ns(frame) <= time.time_ns()
            assert frame.sequence > seen
            seen = frame.sequence


async def test_max_age_gives_the_same_frame_again_as_long_as_it_is_young_enough(
    start_service: StartService,
) -> None:
    service = await start_service(camera())
    first = await frame_of(service)
    again = await frame_of(service, max_age=Duration(seconds=60))
    assert again.age.ToNanoseconds() >= first.age.ToNanoseconds()
    again.age.CopyFrom(first.age)
    assert again == first, "with its own time, not the call's"
    newer = await frame_of(service, max_age=Duration())
    assert newer.sequence > first.sequence
    age_ns = time.time_ns() - acquired_ns(newer)
    await asyncio.sleep(0.05)  # it grows older
    newest = await frame_of(service, max_age=Duration(nanos=age_ns))
    assert newest.sequence > newer.sequence


@pytest.mark.parametrize("asked", [{}, {"max_width_px": 160}])
async def test_who_asks_for_a_frame_sees_what_viewers_see(
    start_service: StartService, asked: dict[str, Any]
) -> None:
    """Never one from before that is still young enough, as of a size that was once asked for."""
    service = await start_service(camera(fps=FPS))
    await frame_of(service, **asked)
    async with Watcher(service) as watcher:
        for _ in range(5):
            newest = (await watcher.until_frames(10))[-1]
            frame = await frame_of(service, max_age=Duration(seconds=60), **asked)
            assert frame.sequence >= newest.sequence


async def test_who_asks_for_a_frame_is_not_given_what_a_slow_viewer_was(
    start_service: StartService,
) -> None:
    service = await start_service(camera(fps=FPS))
    async with Watcher(service, max_fps=0.2) as watcher:
        (before,) = await watcher.until_frames()
        for _ in range(3):
            frame = await frame_of(service, max_age=Duration(seconds=60))
            assert frame.sequence > before.sequence
            before = frame


@pytest.mark.timed
async def test_during_a_still_max_age_gives_the_frame_before_it_and_without_it_the_next(
    start_service: StartService,
) -> None:
    service = await start_service(camera())
    before = await frame_of(service)
    still = asyncio.create_task(service.capture(controls=exposed_for(EXPOSURE_S)))
    await service.wait_for_state(pb.Camera.STATE_CAPTURING)
    asked_ns = time.time_ns()
    with timing() as took:
        again = await frame_of(service, max_age=Duration(seconds=60))
    took.assert_within(0.2)  # it does not wait for the still
    assert again.age.ToNanoseconds() > before.age.ToNanoseconds()
    assert (again.sequence, again.data) == (before.sequence, before.data)
    fresh = await frame_of(service)
    assert acquired_ns(fresh) > asked_ns
    # It waits for the still's exposure to end; the still is then yet to be stored and answered.
    assert number_in(fresh) > number(await still) > number_in(before)


async def test_it_opens_a_closed_camera_which_closes_again_when_idle(
    start_service: StartService,
) -> None:
    service = await start_service(camera(idle_close_s=0.3, open_duration_s=0.3))
    for _ in range(2):
        assert (await service.camera()).camera.state == pb.Camera.STATE_CLOSED
        frame = await frame_of(service)
        assert number_in(frame)
        assert (await service.camera()).camera.state == pb.Camera.STATE_READY
        await service.wait_for_state(pb.Camera.STATE_CLOSED)


async def test_a_caller_who_leaves_before_the_camera_is_open_does_not_keep_it_open(
    start_service: StartService,
) -> None:
    service = await start_service(camera(idle_close_s=0.2, open_duration_s=1.0))
    info = await refused(service, timeout=0.3)
    assert info.code == grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(service.logged("camera closed"), CALL_S)  # so it was open, for a moment
    assert (await service.camera()).camera.state == pb.Camera.STATE_CLOSED


async def test_a_size_and_a_quality_are_each_callers_own(start_service: StartService) -> None:
    service = await start_service(
        camera(width_px=1280, height_px=720)
        + camera("cam", driver="plugins:EncodedCamera", env=plugins.ENV)
    )
    wishes: list[dict[str, Any]] = [
        {},
        {"max_width_px": 640},
        {"max_width_px": 640, "quality_percent": 10},
        {"max_height_px": 90},
        {"max_width_px": 65535},
    ]
    frames = await asyncio.gather(*(frame_of(service, **wish) for wish in wishes))
    widths = [pixels_of(frame).shape[1] for frame in frames]
    assert widths == [1280, 640, 640, 160, 1280]
    assert len(frames[2].data) < len(frames[1].data) / 2
    own = await frame_of(service, "cam")
    assert own.data == plugins.encoded(number_in(own)), "the camera's own, untouched"


async def test_callers_are_no_viewers(start_service: StartService) -> None:
    """They take no viewer's place, and are not counted as such."""
    service = await start_service(camera(max_viewers=1, fps=2))
    async with Watcher(service) as watcher:
        await watcher.until_frames()
        calls = [asyncio.create_task(frame_of(service)) for _ in range(10)]
        await asyncio.sleep(0.1)  # they wait for the next frame
        assert (await service.camera()).camera.statistics.live_viewers == 1
        frames = await asyncio.gather(*calls)
    assert all(frame.frames_dropped == 0 for frame in frames)


@pytest.mark.timed
async def test_a_faulted_camera_is_refused_at_once(start_service: StartService) -> None:
    service = await start_service(camera(faults=[fault("permanent", "read", at=3)]))
    await frame_of(service)
    async with Watcher(service) as watcher:
        await watcher.until_state(pb.LiveStatus.STATE_OFFLINE)
        with timing() as took:
            info = await refused(service)
        took.assert_within(0.2)
    assert (info.code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CAMERA_FAULTED")
    assert "reset the camera" in info.message
    assert info.retry_delay_s is None
    await service.stub.ResetCamera(api.ResetCameraRequest(camera="sim0"), timeout=CALL_S)
    await frame_of(service)


@pytest.mark.timed
async def test_a_camera_that_waits_for_its_next_try_says_when_to_come_back(
    start_service: StartService,
) -> None:
    service = await start_service(camera(faults=[fault("error", "open", at=1, times=4)]))
    with timing() as took:
        info = await refused(service)
    took.assert_within(5)
    assert (info.code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "CAMERA_UNAVAILABLE")
    assert "next try" in info.message
    assert info.retry_delay_s
    await service.wait_for_state(pb.Camera.STATE_READY)
    await frame_of(service)


@pytest.mark.timed
@pytest.mark.parametrize("kind", HANGS)
async def test_a_deadline_is_kept_whatever_the_driver_does(
    start_service: StartService, kind: str
) -> None:
    service = await start_service(camera(faults=[fault(kind, "read")], stall_timeout_s=1.0))
    with timing() as took:
        info = await refused(service, timeout=0.5)
    assert info.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert took.s >= 0.45
    took.assert_within(0.6)
    with timing() as took:
        await frame_of(service, timeout=CALL_S)  # the reading that hangs is noticed, and ended
    took.assert_within(2.5)
