"""Live view during the camera's other work: stills, faults, and crowds that want one frame."""

import asyncio
import itertools
import random
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import cv2
import grpc
import numpy as np
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from bench import live_harness as h
from bench import live_servers as servers
from bench.live_viewers import CHANNEL_OPTIONS
from camsvc.drivers.simulated.test_picture import read_number

if TYPE_CHECKING:  # it is there for the type checker only
    from camapi.v1.camera_service_pb2_grpc import CameraServiceAsyncStub

_STILLS = 100
_HANG_AT, _CRASH_AT = 3, 50
_BETWEEN = 3
"""Frames from one still to the next."""
_CALLERS, _CROWDS = 100, 10
_ROUNDS, _SHOTS = 5, 10
_CALL_S = 60.0


async def captures_and_faults(seconds: float) -> AsyncIterator[h.Row]:
    """Row 9: a hundred stills, two of which end in a hang and a crash, under one stream."""
    faults = f"""
attempt_timeout_s = 1.0
[[cameras.faults]]
on = "capture"
kind = "hang"
at = {_HANG_AT}
[[cameras.faults]]
on = "capture"
kind = "crash"
at = {_CRASH_AT}
"""
    settings = (
        servers.camera("simulated", width_px=320, height_px=240, capture_duration_s=0.02) + faults
    )
    async with (
        servers.service(settings) as service,
        grpc.aio.insecure_channel(service.address) as channel,
    ):
        stub = CameraServiceStub(channel)
        stream = stub.LiveView(api.LiveViewRequest(camera="bench"))
        story = _Story()
        viewing = asyncio.create_task(story.follow(stream))
        await story.frames_more(_BETWEEN)
        for _ in range(_STILLS):
            answer = await stub.Capture(api.CaptureRequest(camera="bench"), timeout=_CALL_S)
            story.still(answer)
            await story.frames_more(_BETWEEN)
        lives = not viewing.done()
        camera = (await stub.GetCamera(api.GetCameraRequest(camera="bench"))).camera
        stream.cancel()
        await asyncio.gather(viewing, return_exceptions=True)
    wrong = story.wrong()
    recoveries = sum(rung.count for rung in camera.statistics.recoveries)
    yield h.Row(
        f"{_STILLS} captures during live view, a hang at the {_HANG_AT}rd, a crash at the "
        f"{_CRASH_AT}th",
        f"{len(story.frames)} frames on one stream, {story.stills} stills, "
        f"{recoveries} recoveries, " + ("; ".join(wrong) or "all in order and honestly dated"),
        "one stream, in order, no old frame",
        lives and not wrong and recoveries >= len((_HANG_AT, _CRASH_AT)),
    )


class _Story:
    """What a viewer was shown, and what it shows of the order of things."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, int, int]] = []
        self.stills = 0
        self._shown: list[tuple[int, int | None]] = []
        self._changed = asyncio.Condition()

    async def follow(
        self, stream: "grpc.aio.UnaryStreamCall[api.LiveViewRequest, api.LiveViewResponse]"
    ) -> None:
        """Read the stream to its end."""
        async for message in stream:
            if message.HasField("frame"):
                frame = message.frame
                acquired_ns = frame.acquisition_time.ToNanoseconds()
                async with self._changed:
                    self.frames.append((time.time_ns(), acquired_ns, frame.sequence))
                    self._shown.append((acquired_ns, _number(frame.data)))
                    self._changed.notify_all()

    def still(self, answer: api.CaptureResponse) -> None:
        """Note a still."""
        self.stills += 1
        acquired_ns = answer.capture.acquisition_time.ToNanoseconds()
        self._shown.append((acquired_ns, _number(answer.image_data)))

    async def frames_more(self, count: int) -> None:
        """Wait for so many frames more."""
        wanted = len(self.frames) + count
        async with asyncio.timeout(_CALL_S), self._changed:
            await self._changed.wait_for(lambda: len(self.frames) >= wanted)

    def wrong(self) -> list[str]:
        """Return what was not as it should be.

        The camera counts its pictures, live and still, over restarts: put in the order of their
        acquisition times, their numbers rise, unless a picture is older than it says.
        """
        numbers = [number for _, number in sorted(self._shown, key=lambda shown: shown[0])]
        late_s = max((f[0] - f[1]) / 1e9 for f in self.frames)
        return [
            *(["unreadable pictures"] if None in numbers else []),
            *(["a sequence that does not rise"] if not _rises([f[2] for f in self.frames]) else []),
            *(["times that do not rise"] if not _rises([f[1] for f in self.frames]) else []),
            *(["a picture older than its time"] if not _rises(numbers) else []),
            *([f"a frame {late_s:.1f} s late"] if late_s > 1 else []),
        ]


def _rises(values: Sequence[int | None]) -> bool:
    return all(a is not None and b is not None and a < b for a, b in itertools.pairwise(values))


def _number(jpeg: bytes) -> int | None:
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return None if pixels is None else read_number(np.asarray(pixels, np.uint8))


async def crowds(seconds: float) -> AsyncIterator[h.Row]:
    """Row 10: a hundred callers of GetFrame at once, ten times in a row."""
    took_ms, failed = [], 0
    async with (
        servers.service(servers.ready_jpeg(100_000)) as service,
        grpc.aio.insecure_channel(service.address, options=CHANNEL_OPTIONS) as channel,
    ):
        stub = CameraServiceStub(channel)

        async def call() -> float:
            started = time.perf_counter()
            await stub.GetFrame(api.GetFrameRequest(camera="bench"), timeout=_CALL_S)
            return (time.perf_counter() - started) * 1e3

        await call()  # opens the camera
        for _ in range(_CROWDS):
            results = await asyncio.gather(
                *(call() for _ in range(_CALLERS)), return_exceptions=True
            )
            took_ms += [r for r in results if isinstance(r, float)]
            failed += sum(isinstance(r, BaseException) for r in results)
    p99 = statistics.quantiles(took_ms, n=100)[98]
    yield h.Row(
        f"{_CALLERS} GetFrame calls at once, {_CROWDS} times in a row, 33 ms a frame",
        f"{failed} failed, p50 {statistics.median(took_ms):.0f} ms, p99 {p99:.0f} ms",
        "0 failed, p99 <= 200 ms",
        not failed and p99 <= 200,
    )


async def still_delay(seconds: float) -> AsyncIterator[h.Row]:
    """Row 11: a still during live view against one without, by turns."""
    quiet: list[float] = []
    watched: list[float] = []
    async with (
        servers.service(servers.camera("simulated")) as service,
        grpc.aio.insecure_channel(service.address, options=CHANNEL_OPTIONS) as channel,
    ):
        stub = CameraServiceStub(channel)
        for _ in range(_ROUNDS):
            await _shoot(stub, quiet)
            async with h.viewers("live", service, 10) as people:
                await _shoot(stub, watched)
                await people.leave()
    ratio = statistics.median(watched) / statistics.median(quiet)
    yield h.Row(
        "a still with 10 viewers : a still without",
        f"{ratio:.2f}  ({statistics.median(watched) * 1e3:.0f} ms : "
        f"{statistics.median(quiet) * 1e3:.0f} ms)",
        "<= 1.2",
        ratio <= 1.2,
    )


async def _shoot(stub: "CameraServiceAsyncStub", took_s: list[float]) -> None:
    chance = random.Random(len(took_s))
    for _ in range(_SHOTS):
        # Any moment between two frames is as likely as any other.
        await asyncio.sleep(0.1 + chance.random() * 0.1)
        started = time.perf_counter()
        await stub.Capture(api.CaptureRequest(camera="bench"), timeout=_CALL_S)
        took_s.append(time.perf_counter() - started)
