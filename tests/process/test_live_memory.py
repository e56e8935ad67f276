"""Viewers leave nothing behind, and slow ones harm only themselves.

All thousand viewers: ENDURANCE=full.
"""

import asyncio
import contextlib
import re
import time
import urllib.request
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from tests.conftest import StartService
from tests.support import endurance, plugins
from tests.support.live import Watcher, gaps_s
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service, worker_memory
from tests.support.timing import timing
from tests.support.waiting import until

Call = grpc.aio.UnaryStreamCall[api.LiveViewRequest, api.LiveViewResponse]

MIB, FPS = 2**20, 30
AT_ONCE, TIMES = 25, endurance.times(1000)
WARM_UP = TIMES // 4 // AT_ONCE * AT_ONCE
COMING_AND_GOING_BYTES = 4 * MIB
"""What an allocator's whims may add over the last three quarters of the viewers."""
MOST_VARIANTS = 8

WATCHED_S, OTHERS = 7.0, 3
LATE_S = 4.5
"""A frame waits in the stream's own window and in the client; its reader takes one a second."""
SLOW_BYTES = 10 * MIB
LOST = 0.01


def rss(service: Service) -> int:
    return int(service.ps.memory_info().rss)


async def viewers(service: Service, camera_id: str) -> int:
    return (await service.camera(camera_id)).camera.statistics.live_viewers


async def reads(service: Service) -> int:
    request = api.ListControlsRequest(camera="cam")
    controls = (await service.stub.ListControls(request, timeout=CALL_S)).controls
    return next(c.value.int_value for c in controls if c.name == "reads")


async def variants(service: Service) -> int:
    """Return in how many ways frames are encoded now, from the metrics."""
    address = (await service.logged("metrics served"))["listen"]

    def get() -> str:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=CALL_S) as response:
            return str(response.read().decode())

    found = re.search(
        r'^camsvc_live_variants{camera="cam"} (\S+)$', await asyncio.to_thread(get), re.M
    )
    assert found is not None
    return int(float(found[1]))


async def come_and_go(service: Service, number: int) -> None:
    """Watch one of more variants than there are; leave before, at or after the first frame."""
    width = 100 + number % 30 * 17
    call = service.stub.LiveView(
        api.LiveViewRequest(camera="cam", max_width_px=width), timeout=CALL_S
    )
    messages = 0
    async for response in call:
        messages += 1
        if number % 3 == 0 or (number % 3 == 1 and response.HasField("frame")) or messages > 4:
            break
    call.cancel()


@pytest.mark.timed
async def test_viewers_who_come_and_go_leave_nothing_behind(
    start_service: StartService,
) -> None:
    options = {"fps": 100}
    service = await start_service(
        camera("cam", driver="plugins:EncodedCamera", env=plugins.ENV, options=options)
    )
    async with Watcher(service, "cam") as watcher:
        await watcher.until_frames()
    before, descriptors, blocks = 0, 0, 0
    for first in range(0, TIMES, AT_ONCE):
        if first == WARM_UP:
            before, descriptors = rss(service), service.ps.num_fds()
            blocks = worker_memory(service.ps.pid)
        await asyncio.gather(*(come_and_go(service, first + n) for n in range(AT_ONCE)))

        assert await variants(service) <= MOST_VARIANTS

    async def nobody() -> bool:
        return await viewers(service, "cam") == await variants(service) == 0

    await until(nobody, "all have left, and no variant is encoded")

    async def stopped() -> bool:
        had = await reads(service)
        await asyncio.sleep(0.1)  # ten frames' time, in which none is read
        return await reads(service) == had

    await until(stopped, "nothing is read any more", within_s=2)
    grown = rss(service) - before
    print(f"RSS {before / MIB:.1f} MiB, grown by {grown / MIB:.2f} MiB")
    assert grown < COMING_AND_GOING_BYTES
    assert service.ps.num_fds() <= descriptors
    assert worker_memory(service.ps.pid) == blocks
    async with Watcher(service, "cam") as watcher:
        with timing() as took:
            frames = await watcher.until_frames(50)
    assert max(gaps_s(frames)) - took.waited_s < 0.5


async def never_read(channel: grpc.aio.Channel) -> Call:
    call: Call = CameraServiceStub(channel).LiveView(api.LiveViewRequest(camera="sim0"))
    first: Any = await call.read()
    assert first.HasField("status")
    return call


async def read_slowly(channel: grpc.aio.Channel) -> list[tuple[float, pb.LiveFrame]]:
    """Read a frame a second for some time; return each with its age at that moment."""
    call: Call = CameraServiceStub(channel).LiveView(api.LiveViewRequest(camera="sim0"))
    seen, until_time = [], time.monotonic() + WATCHED_S
    while time.monotonic() < until_time:
        response: Any = await call.read()
        if response.HasField("frame"):
            age_s = (time.time_ns() - response.frame.acquisition_time.ToNanoseconds()) / 1e9
            seen.append((age_s, response.frame))
            await asyncio.sleep(1)
    call.cancel()
    return seen


@pytest.mark.timed
async def test_viewers_who_read_slowly_or_not_at_all_harm_nobody_else(
    start_service: StartService,
) -> None:
    """The slow one's client keeps its receive window small, as else megabytes wait in it."""
    service = await start_service(camera(width_px=1280, height_px=720))
    small_window = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]
    async with contextlib.AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(service.connect()) for _ in range(OTHERS + 1)]
        narrow = await stack.enter_async_context(
            grpc.aio.insecure_channel(service.address, options=small_window)
        )
        others = [
            await stack.enter_async_context(Watcher(service, channel=channel))
            for channel in channels[:OTHERS]
        ]
        await others[0].until_frames(30)
        before = rss(service)
        stuck = await never_read(channels[-1])
        begin = others[0].frames[-1].sequence
        with timing() as took:
            slow = await read_slowly(narrow)
        end, grown = others[0].frames[-1].sequence, rss(service) - before
        stuck.cancel()

        async def the_others() -> bool:
            return await viewers(service, "sim0") == OTHERS

        await until(the_others, "both have left, also the one whose message could not be sent")
    for watcher in others:
        got = [f for f in watcher.frames if begin < f.sequence <= end]
        print(f"{len(got)} of {end - begin} frames, largest gap {max(gaps_s(got)):.3f} s")
        assert len(got) >= (1 - LOST) * (end - begin) - FPS * took.waited_s
    ages = [age_s for age_s, _ in slow]
    size = len(slow[-1][1].data)
    print(f"{size / 1e3:.0f} kB each, RSS grown by {grown / MIB:.2f} MiB, read {ages} s old")
    assert grown < SLOW_BYTES
    assert max(ages) - took.waited_s < LATE_S
    first, last = slow[0][1], slow[-1][1]
    assert last.sequence - first.sequence > 2 * FPS, "it gets what is new, not what is next"
    passed = last.sequence - first.sequence - len(slow) + 1
    assert last.frames_dropped == passed, "and is told of each frame it missed"
