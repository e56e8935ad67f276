"""How live view flows: soon, evenly, past viewers that do not keep up, and without a trace."""

import asyncio
import itertools
import json
import random
import statistics
import time
from collections.abc import AsyncIterator

import grpc
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from bench import live_harness as h
from bench import live_servers as servers
from bench.live_viewers import CHANNEL_OPTIONS
from bench.pictures import FPS

_VIEWERS = 10
_EVENNESS_WINDOWS = 12
_COMINGS, _WARM_UP, _AT_ONCE = 1000, 200, 10
_SETTLE_S = 15.0
_MIB = 2**20


async def latency_and_evenness(seconds: float) -> AsyncIterator[h.Row]:
    """Rows 5 and 6: ten viewers of 1080p for a minute."""
    seconds *= _EVENNESS_WINDOWS
    async with servers.service(servers.PIXELS) as service:
        frames, _ = await h.watched(service, "live", _VIEWERS, seconds, [], processes=2)
    late_ms = [(f[0] - f[1]) / 1e6 for viewer in frames.viewers for f in viewer]
    p50, p99 = statistics.median(late_ms), statistics.quantiles(late_ms, n=100)[98]
    yield h.Row(
        "latency, acquisition to client, 10 viewers, 1080p 30 fps",
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
        "p50 <= 10 ms, p99 <= 40 ms",
        p50 <= 10 and p99 <= 40,
    )
    delivered = frames.count() / (_VIEWERS * seconds * FPS)
    gap_ms = max(_longest_gap_ms(viewer) for viewer in frames.viewers)
    yield h.Row(
        f"evenness, 10 viewers at 30 fps for {seconds:g} s",
        f"{delivered:.2%} of frames, longest gap {gap_ms:.0f} ms",
        ">= 99 %, <= 100 ms",
        delivered >= 0.99 and gap_ms <= 100,
    )


def _longest_gap_ms(viewer: list[tuple[int, int, int]]) -> float:
    return max(b[0] - a[0] for a, b in itertools.pairwise(viewer)) / 1e6


async def slow_viewers(seconds: float) -> AsyncIterator[h.Row]:
    """Row 7: a viewer that never reads and one of a frame a second harm nobody."""
    seconds *= 2
    async with (
        servers.service(servers.PIXELS) as service,
        h.viewers("live", service, _VIEWERS, processes=2) as well,
    ):
        await asyncio.sleep(seconds)
        before = service.rss_bytes()
        async with (
            h.viewers("live", service, 1) as stopped,
            h.viewers("live", service, 1, pause_s=1) as slow,
        ):
            stopped.stop_reading()
            began_ns = time.time_ns()
            grown = 0
            for _ in range(round(seconds * 4)):
                await asyncio.sleep(0.25)
                grown = max(grown, service.rss_bytes() - before)
            ended_ns = time.time_ns()
            watching = await _viewers_of(service)
            crawled = (await slow.leave()).within(began_ns, ended_ns).count()
        frames = (await well.leave()).within(began_ns, ended_ns)
    lost = 1 - min(map(_kept, frames.viewers))
    yield h.Row(
        "one viewer that never reads and one of 1 frame/s: what the others lose",
        f"{lost:.2%}, service RSS {grown / _MIB:+.1f} MiB ({watching} streams open, "
        f"{crawled} frames to the slow one)",
        "<= 1 %, < 10 MB",
        lost <= 0.01 and grown < 10e6 and watching == _VIEWERS + 2,
    )


def _kept(viewer: list[tuple[int, int, int]]) -> float:
    return len(viewer) / (viewer[-1][2] - viewer[0][2] + 1)


async def _viewers_of(service: servers.Server) -> int:
    async with grpc.aio.insecure_channel(service.address) as channel:
        answer = await CameraServiceStub(channel).GetCamera(api.GetCameraRequest(camera="bench"))
        return answer.camera.statistics.live_viewers


async def coming_and_going(seconds: float) -> AsyncIterator[h.Row]:
    """Row 8: viewers of many sizes come and go, politely and not, and leave nothing behind."""
    cameras = servers.camera("simulated", width_px=640, height_px=360)
    async with servers.service(cameras, "bench.live_probe") as service:
        await _come_and_go(service, _WARM_UP)
        before = await _left_behind(service, await _left_behind(service))
        rss = service.rss_bytes()
        await _come_and_go(service, _COMINGS)
        after, grown = await _left_behind(service, before), service.rss_bytes() - rss
    differences = {k: after[k] - before[k] for k in before}
    yield h.Row(
        f"viewers coming and going, {_COMINGS} times: what is left",
        f"RSS {grown / _MIB:+.1f} MiB, "
        + ", ".join(f"{key} {value:+d}" for key, value in differences.items()),
        "RSS < +4 MiB, the rest 0",
        grown < 4 * _MIB and not any(differences.values()),
    )


async def _come_and_go(service: servers.Server, times: int) -> None:
    """Let viewers leave before the first frame, after some, or with their connection."""
    numbers, chance = iter(range(times)), random.Random(1)

    async def visitor() -> None:
        async with grpc.aio.insecure_channel(service.address) as shared:
            for _ in numbers:
                request = api.LiveViewRequest(
                    camera="bench",
                    max_width_px=chance.choice([None, 320, 240, 200, 180, 160]),
                    quality_percent=chance.choice([None, 50, 60]),
                    max_fps=chance.choice([None, 10.0]),
                )
                frames, hangs_up = chance.choice([0, 1, 3]), chance.random() < 0.2
                if hangs_up:
                    async with grpc.aio.insecure_channel(
                        service.address, options=CHANNEL_OPTIONS
                    ) as own:
                        await _look(own, request, frames)
                else:
                    (await _look(shared, request, frames)).cancel()

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(visitor())


async def _look(
    channel: grpc.aio.Channel, request: api.LiveViewRequest, frames: int
) -> "grpc.aio.UnaryStreamCall[api.LiveViewRequest, api.LiveViewResponse]":
    call = CameraServiceStub(channel).LiveView(request)
    while frames:
        message = await call.read()
        assert isinstance(message, api.LiveViewResponse), "the stream ended"
        frames -= message.HasField("frame")
    return call


async def _left_behind(
    service: servers.Server, at_rest: dict[str, int] | None = None
) -> dict[str, int]:
    """Ask the probe until nobody watches any more and gRPC has tidied up, or it never does."""
    assert service.process.stdin is not None
    assert service.process.stdout is not None
    deadline = time.monotonic() + _SETTLE_S
    while True:
        await asyncio.sleep(0.5)
        service.process.stdin.write(b"count\n")
        counts: dict[str, int] = json.loads(await service.process.stdout.readline())
        settled = not counts["viewers"] and counts == (at_rest or counts)
        if settled or time.monotonic() > deadline:
            return counts
