"""Viewers leave nothing behind, and slow ones harm only themselves."""

import asyncio
import time

import grpc
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from tests.conftest import StartService
from tests.support import plugins
from tests.support.live import Watcher, gaps_s
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service, worker_memory
from tests.support.waiting import until

MIB = 2**20
AT_ONCE, TIMES, WARM_UP = 25, 1000, 250
COMING_AND_GOING_BYTES = 4 * MIB
"""What an allocator's whims may add over the last three quarters of a thousand viewers."""

WATCHED_S, OTHERS = 6.0, 3
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


async def test_1000_viewers_who_come_and_go_leave_nothing_behind(
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

    async def nobody() -> bool:
        return await viewers(service, "cam") == 0

    await until(nobody, "all have left")

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
        frames = await watcher.until_frames(50)
    assert max(gaps_s(frames)) < 0.5


async def never_read(channel: grpc.aio.Channel) -> "grpc.aio.UnaryStreamCall[object, object]":
    call = CameraServiceStub(channel).LiveView(api.LiveViewRequest(camera="sim0"))
    assert (await call.read()).HasField("status")
    return call  # type: ignore[return-value]


async def read_slowly(
    channel: grpc.aio.Channel, until_time: float
) -> list[tuple[float, pb.LiveFrame]]:
    """Read a frame a second; return each with its age at that moment."""
    call = CameraServiceStub(channel).LiveView(api.LiveViewRequest(camera="sim0"))
    seen = []
    while time.monotonic() < until_time:
        response = await call.read()
        if response.HasField("frame"):
            age_s = (time.time_ns() - response.frame.acquisition_time.ToNanoseconds()) / 1e9
            seen.append((age_s, response.frame))
            await asyncio.sleep(1)
    call.cancel()
    return seen


async def test_viewers_who_read_slowly_or_not_at_all_harm_nobody_else(
    start_service: StartService,
) -> None:
    service = await start_service(camera(width_px=1280, height_px=720))
    channels = [service.connect() for _ in range(OTHERS + 2)]
    watchers = [Watcher(service, channel=channel) for channel in channels[:OTHERS]]
    for watcher in watchers:
        await watcher.__aenter__()
    await watchers[0].until_frames(30)
    before = rss(service)
    stuck = await never_read(channels[-1])
    until_time = time.monotonic() + WATCHED_S
    begin = watchers[0].frames[-1].sequence
    slow = await read_slowly(channels[-2], until_time)
    end, grown = watchers[0].frames[-1].sequence, rss(service) - before
    size = len(watchers[0].frames[-1].data)
    for watcher in watchers:
        got = [f for f in watcher.frames if begin < f.sequence <= end]
        print(f"{len(got)} of {end - begin} frames, largest gap {max(gaps_s(got)):.3f} s")
        assert len(got) >= (1 - LOST) * (end - begin)
    ages = [round(age_s, 2) for age_s, _ in slow]
    print(f"frames of {size / 1e3:.0f} kB, RSS grown by {grown / MIB:.2f} MiB, ages {ages}")
    assert grown < SLOW_BYTES
    sequences = [frame.sequence for _, frame in slow]
    dropped = slow[-1][1].frames_dropped
    assert sequences == sorted(set(sequences))
    assert dropped >= sequences[-1] - sequences[0] - 50, "and it is told what it missed"
    stuck.cancel()
    for watcher in watchers:
        await watcher.__aexit__(None, None, None)

    async def nobody() -> bool:
        return await viewers(service, "sim0") == 0

    await until(nobody, "all have left, also the one whose message could not be sent")
    await asyncio.gather(*(channel.close() for channel in channels))
