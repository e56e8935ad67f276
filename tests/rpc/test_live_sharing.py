"""More sizes than are encoded: whoever comes, nobody's picture is smaller than asked for."""

import contextlib

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from tests.conftest import StartService
from tests.support import plugins
from tests.support.live import Watcher
from tests.support.metrics import metric
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.waiting import until

TINY_PX = range(16, 24)
FIRST, LATER, WIDTH, HEIGHT = (None, 640), (1000, 320, 500), 1280, 720
MOST_VARIANTS = 8


def watcher(service: Service, width_px: int | None) -> Watcher:
    return Watcher(service) if width_px is None else Watcher(service, max_width_px=width_px)


def assert_none_missed(frames: list[pb.LiveFrame]) -> None:
    """Each frame of the camera came, or was counted as dropped."""
    passed = frames[-1].sequence - frames[0].sequence - len(frames) + 1
    assert passed == frames[-1].frames_dropped - frames[0].frames_dropped


async def one_frame(service: Service, width_px: int | None) -> pb.LiveFrame:
    request = api.GetFrameRequest(camera="sim0")
    if width_px is not None:
        request.max_width_px = width_px
    return (await service.stub.GetFrame(request, timeout=CALL_S)).frame


async def test_eight_viewers_of_eight_small_sizes_leave_everybody_else_what_they_ask_for(
    start_service: StartService,
) -> None:
    """Those who came before them, those who come after, and callers of GetFrame."""
    service = await start_service(camera(width_px=WIDTH, height_px=HEIGHT))
    async with contextlib.AsyncExitStack() as stack:
        watchers = {}
        for width in (*FIRST, *TINY_PX, *LATER):
            watchers[width] = await stack.enter_async_context(watcher(service, width))
            await watchers[width].until_frames(2)
        for width in (*LATER, None, 800, 21):
            frame = await one_frame(service, width)
            assert frame.width_px == (width or WIDTH) or width in TINY_PX
            assert frame.width_px >= (width or WIDTH)
        await stack.enter_async_context(watcher(service, 900))
        for each in watchers.values():
            await each.until_frames(2)
        assert await metric(service, "camsvc_live_variants") == MOST_VARIANTS
    for width, each in watchers.items():
        widths = {frame.width_px for frame in each.frames}
        if width in TINY_PX:
            assert min(widths) >= width
            assert max(widths) <= max(TINY_PX)
        else:
            assert widths == {width or WIDTH}
            assert_none_missed(each.frames)


async def test_what_the_encoder_has_no_time_for_is_shared_until_viewers_leave(
    start_service: StartService,
) -> None:
    """By those who want nearly the same; nobody misses a frame as their pictures change."""
    service = await start_service(
        camera(driver="plugins:HurriedCamera", env=plugins.ENV, options={"fps": 500})
    )
    near = 600, 590, 580, 570
    async with contextlib.AsyncExitStack() as stack:
        watchers = {}
        for width in (200, *near):
            watchers[width] = await stack.enter_async_context(watcher(service, width))

        def shown() -> list[int]:
            return [each.frames[-1].width_px for each in watchers.values() if each.frames]

        async def some_share() -> bool:
            return len(shown()) == len(watchers) and len(set(shown())) < len(watchers)

        await until(some_share, "all see it, in fewer sizes than they asked for", within_s=20)
        for width in near[:-1]:
            await watchers[width].leave()

        async def has_its_own() -> bool:
            return watchers[near[-1]].frames[-1].width_px == near[-1]

        await until(has_its_own, "the one who is left has its own again")
    for width, each in watchers.items():
        widths = {frame.width_px for frame in each.frames}
        assert widths <= ({200} if width == 200 else {other for other in near if other >= width})
        assert_none_missed(each.frames)
