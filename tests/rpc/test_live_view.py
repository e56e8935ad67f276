"""Live view as a viewer has it: at once, at its own size and rate, whatever the others do."""

import asyncio
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import error_info

from tests.conftest import StartService
from tests.support import plugins
from tests.support.live import Status, Watcher, assert_numbers_rise, gaps_s, number_in, pixels_of
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.timing import timing
from tests.support.waiting import until

FIRST_S = 0.100
FRESH_S = 0.5
FPS = 30


def acquired_s(frame: pb.LiveFrame) -> float:
    return frame.acquisition_time.ToNanoseconds() / 1e9


async def viewers(service: Service, camera_id: str = "sim0") -> int:
    return (await service.camera(camera_id)).camera.statistics.live_viewers


async def until_viewers(service: Service, count: int) -> None:
    async def are() -> bool:
        return await viewers(service) == count

    await until(are, f"{count} viewers")


async def reads(service: Service) -> int:
    """Return how many live frames were read of a `plugins.EncodedCamera`."""
    request = api.ListControlsRequest(camera="cam")
    controls = (await service.stub.ListControls(request, timeout=CALL_S)).controls
    return next(c.value.int_value for c in controls if c.name == "reads")


def encoded_camera(**keys: Any) -> str:
    return camera("cam", driver="plugins:EncodedCamera", env=plugins.ENV, **keys)


@pytest.mark.timed
async def test_the_first_message_is_a_status_and_comes_within_100_ms(
    start_service: StartService,
) -> None:
    """Also while the camera is being opened, which takes longer."""
    service = await start_service(camera(open_duration_s=1.0))
    await service.channel.channel_ready()
    async with Watcher(service) as first:
        await first.until_state(Status.STATE_STARTING)
        await first.until_frames()
        async with Watcher(service) as second:
            await second.until_frames()
    for watcher, changes in ((first, ["STARTING", "LIVE"]), (second, ["LIVE"])):
        watcher.assert_first_within(FIRST_S)
        assert watcher.changes == changes
    lasted_s = first.left - first.started
    assert len(first.statuses) <= 3 + lasted_s, "the changes, and a heartbeat a second"


@pytest.mark.timed
async def test_every_frame_is_fresh_and_says_honestly_when_it_was_taken(
    start_service: StartService,
) -> None:
    service = await start_service(camera())
    with timing() as took:
        async with Watcher(service) as watcher:
            frames = await watcher.until_frames(2 * FPS)
    ages = [
        (m.at_ns - m.frame.acquisition_time.ToNanoseconds()) / 1e9
        for m in watcher.messages
        if m.frame
    ]
    print(f"age: median {sorted(ages)[len(ages) // 2] * 1e3:.1f} ms, max {max(ages) * 1e3:.1f} ms")
    assert min(ages) >= 0
    assert max(ages) < FRESH_S + took.waited_s
    assert_numbers_rise(frames)
    passed = number_in(frames[-1]) - number_in(frames[0])
    assert passed == frames[-1].sequence - frames[0].sequence, "each frame of the camera counts"


@pytest.mark.parametrize("max_fps", [5.0, 12.0, 20.0])
async def test_a_rate_is_kept_and_even(start_service: StartService, max_fps: float) -> None:
    """As far as the camera keeps its own, as one who watches all its frames sees."""
    service = await start_service(camera())
    async with Watcher(service, max_fps=max_fps) as watcher, Watcher(service) as all_frames:
        await watcher.until_frames(2)
        frames = await watcher.until_frames(round(1.5 * max_fps))
    gaps = gaps_s(frames)
    mean_s = sum(gaps) / len(gaps)
    begin, end = (acquired_s(frame) for frame in (frames[0], frames[-1]))
    there = [frame for frame in all_frames.frames if begin <= acquired_s(frame) <= end]
    late_s = max(gaps_s(there)) - 1 / FPS
    print(f"{max_fps} fps: mean {1 / mean_s:.2f}, gaps {min(gaps):.3f} to {max(gaps):.3f} s")
    assert 1 / mean_s <= max_fps * 1.05
    slots = {int((acquired_s(frame) - begin) * max_fps + 0.5) for frame in there}
    assert len(frames) >= 0.9 * len(slots)
    assert max(gaps) < 1 / max_fps + 2 / FPS + late_s
    passed = frames[-1].sequence - frames[0].sequence + 1
    dropped = watcher.frames[-1].frames_dropped
    assert dropped <= (passed - len(frames)) / 5, "what is above its rate was never due"
    assert len(there) > 2 * passed / 3, "the other one sees what it leaves out"


async def test_viewers_who_share_a_rate_get_the_same_frames_whenever_they_came(
    start_service: StartService,
) -> None:
    service = await start_service(camera())
    async with Watcher(service, max_fps=25) as first:
        for _ in range(3):
            await first.until_frames(3)
            async with Watcher(service, max_fps=25) as late:
                frames = await late.until_frames(25)
            got = {frame.sequence for frame in frames}
            begin, end = min(got), max(got)
            due = {f.sequence for f in first.frames if begin <= f.sequence <= end}
            assert len(due - got) <= 1, "but for one at the moment when it came"


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        ({"max_width_px": 640}, (640, 360)),
        ({"max_height_px": 360}, (640, 360)),
        ({"max_width_px": 640, "max_height_px": 180}, (320, 180)),
        ({"max_width_px": 65535, "max_height_px": 65535}, (1280, 720)),
        ({}, (1280, 720)),
    ],
)
async def test_a_size_keeps_the_aspect_and_never_enlarges(
    start_service: StartService, wanted: dict[str, Any], size: tuple[int, int]
) -> None:
    service = await start_service(camera(width_px=1280, height_px=720))
    async with Watcher(service, **wanted) as watcher:
        frame = (await watcher.until_frames())[0]
    assert (frame.width_px, frame.height_px) == size
    assert number_in(frame) >= frame.sequence


async def test_a_quality_is_each_viewers_own(start_service: StartService) -> None:
    service = await start_service(camera(width_px=640, height_px=480))
    async with (
        Watcher(service, quality_percent=15) as low,
        Watcher(service) as usual,
        Watcher(service, quality_percent=98) as high,
    ):
        frames = [(await w.until_frames(2))[-1] for w in (low, usual, high)]
    sizes = [len(frame.data) for frame in frames]
    assert sizes == sorted(sizes)
    assert 1.5 * sizes[0] < sizes[1] < sizes[2] / 1.5
    assert all(pixels_of(frame).shape == (480, 640, 3) for frame in frames)


async def test_viewers_of_one_variant_get_identical_bytes(start_service: StartService) -> None:
    service = await start_service(camera())
    async with (
        Watcher(service, max_width_px=200) as one,
        Watcher(service, max_width_px=200, channel=(channel := service.connect())) as other,
        Watcher(service, max_width_px=200, max_fps=10) as slower,
    ):

        def shared(watcher: Watcher) -> list[pb.LiveFrame]:
            ones = {frame.sequence for frame in one.frames}
            return [frame for frame in watcher.frames if frame.sequence in ones]

        async def enough() -> bool:
            return all(len(shared(watcher)) >= 4 for watcher in (other, slower))

        await until(enough, "four frames that both have")
    await channel.close()
    ones = {frame.sequence: frame for frame in one.frames}
    for watcher in (other, slower):
        assert all(frame.data == ones[frame.sequence].data for frame in shared(watcher))


async def test_a_jpeg_of_the_cameras_own_reaches_viewers_untouched(
    start_service: StartService,
) -> None:
    service = await start_service(encoded_camera())
    async with Watcher(service, "cam") as whole, Watcher(service, "cam", max_width_px=320) as small:
        frames = await whole.until_frames(10)
        scaled = await small.until_frames(10)
    for frame in frames:
        assert frame.data == plugins.encoded(number_in(frame))
        assert (frame.width_px, frame.height_px) == (plugins.WIDTH, plugins.HEIGHT)
    assert {(frame.width_px, frame.height_px) for frame in scaled} == {(320, 240)}
    assert not any(frame.data.endswith(plugins.PADDING) for frame in scaled)
    assert all(number_in(frame) < plugins.DIFFERENT for frame in scaled)


async def test_the_camera_is_read_only_while_somebody_watches(start_service: StartService) -> None:
    service = await start_service(encoded_camera(options={"fps": 100}))
    assert await reads(service) == 0, "opening it reads nothing"
    async with Watcher(service, "cam") as watcher:
        await watcher.until_frames(20)
        assert await reads(service) >= 20

    async def stopped() -> bool:
        before = await reads(service)
        await asyncio.sleep(0.1)  # ten frames' time, in which none is read
        return await reads(service) == before

    await until(stopped, "nothing is read any more", within_s=2)
    async with Watcher(service, "cam") as watcher:
        await watcher.until_frames()


@pytest.mark.timed
async def test_a_camera_opens_for_its_first_viewer_and_closes_after_its_last(
    start_service: StartService,
) -> None:
    service = await start_service(camera(idle_close_s=0.4))
    assert (await service.camera()).camera.state == pb.Camera.STATE_CLOSED
    async with Watcher(service) as first:
        await first.until_frames()
        async with Watcher(service) as second:
            await second.until_frames()
            await first.leave()
            await service.capture()  # its end begins another idle time
            await second.until_frames(FPS)  # longer than idle_close_s
            assert (await service.camera()).camera.state == pb.Camera.STATE_READY
    with timing() as took:
        await service.wait_for_state(pb.Camera.STATE_CLOSED)
    assert took.s > 0.2
    took.assert_within(2)
    async with Watcher(service) as again:
        await again.until_frames()


async def test_more_viewers_than_there_are_places_are_refused_until_one_leaves(
    start_service: StartService,
) -> None:
    service = await start_service(camera(max_viewers=2))
    async with Watcher(service) as first, Watcher(service) as second:
        await first.until_frames()
        await second.until_frames()
        refused = service.stub.LiveView(api.LiveViewRequest(camera="sim0"), timeout=CALL_S)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await refused.read()
        info = error_info(caught.value)
        assert (info.code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert info.metadata["limit"] == "2"
        assert info.retry_delay_s
        assert "'sim0'" in info.message
        await first.leave()
        await until_viewers(service, 1)
        async with Watcher(service) as third:
            await third.until_frames()
    await until_viewers(service, 0)


async def test_a_camera_without_live_view_is_unsupported_as_soon_as_that_shows(
    start_service: StartService,
) -> None:
    settings = camera("still", driver="plugins:StillCamera", env=plugins.ENV)
    service = await start_service(settings)
    for _ in range(2):
        async with Watcher(service, "still") as watcher:
            await service.wait_for_state(pb.Camera.STATE_READY, "still")
            info = error_info(await watcher.ended(within_s=0.5))
            assert (info.code, info.reason) == (
                grpc.StatusCode.FAILED_PRECONDITION,
                "UNSUPPORTED",
            )
            assert "no live view" in info.message
            assert info.metadata["camera"] == "still"
    shown = (await service.camera("still")).camera
    assert shown.state == pb.Camera.STATE_READY
    assert not shown.statistics.recoveries, "it is well, and was never lost"
    assert (await service.capture("still")).capture.image.width_px == plugins.WIDTH


@pytest.mark.timed
async def test_a_service_that_stops_ends_its_streams_with_unavailable_at_once(
    start_service: StartService,
) -> None:
    service = await start_service("grace_s = 15.0\n" + camera())
    async with Watcher(service) as watcher:
        await watcher.until_frames()
        with timing() as took:
            await service.stop()
        took.assert_within(3)  # an open stream does not hold the end up
        error = await watcher.ended()
        assert error.code() is grpc.StatusCode.UNAVAILABLE
