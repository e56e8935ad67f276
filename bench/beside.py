"""The service against a server on its camera's bare library, in one process: what our layer costs.

Each has a camera of its own of one kind, and does the same work for the same clients. They take
turns, so that noise of the machine meets both. The other one has no viewer meanwhile, and no still
under way.
"""

import argparse
import asyncio
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Self

import grpc
import psutil
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from bench import live_harness as harness
from bench.live_servers import Server
from camsvc.images.jpeg import whole_size

if TYPE_CHECKING:  # it is in the types only
    from camapi.v1.camera_service_pb2_grpc import CameraServiceAsyncStub

CAMERA = "bench"
_STILL_BOUND, _LIVE_BOUND = 1.1, 1.2
_VIEWERS = (1, 10)
_SAME, _COMPARED = 0.05, 16
"""How far the usual size in bytes may differ, of at least so many pictures: a moving picture takes
more and fewer of them."""
_OPTIONS = [("grpc.max_receive_message_length", -1)]
_MOST_INLINE_BYTES = 64 << 20


@dataclass(frozen=True)
class Plan:
    """How much is measured. `make bench-...` takes the first three as ARGS."""

    stills: int = 100
    rounds: int = 4
    seconds: float = 5.0
    """Of live view in a round."""
    warm_up: int = 5
    """Stills before those that count, and after each reset."""
    stills_per_reset: int = 0
    """After how many that count the camera is opened again; 0: never."""
    pause_s: float = 0.0
    """The longest pause before a still: a frame's time, so that free-running sensors are met at
    any moment of it. Else the two fall into step with them, and one waits longer each time."""
    call_s: float = 30.0

    def asked(self, description: str | None) -> Self:
        """Return it with what the command line asks for."""
        parser = argparse.ArgumentParser(description=description)
        for name, kind in (("stills", int), ("rounds", int), ("seconds", float)):
            parser.add_argument(f"--{name}", type=kind, default=getattr(self, name))
        given = parser.parse_args()
        if given.stills < 2 or given.rounds < 1 or given.seconds <= 0:
            parser.error("needed are at least 2 stills, 1 round, and more than 0 seconds")
        return replace(self, **vars(given))


@dataclass(frozen=True)
class Ratio:
    """The service's figure over the bare library's."""

    what: str
    ratio: float
    bound: float


class Side:
    """One of the two servers."""

    def __init__(
        self, name: str, server: Server, stub: "CameraServiceAsyncStub", call_s: float
    ) -> None:
        self.name = name
        self.server = server
        self._stub, self._call_s = stub, call_s
        self.took_s: list[float] = []
        self.pictures: list[tuple[int, int, int]] = []
        """Width, height and bytes of each still."""

    async def reset(self) -> None:
        """Have the camera opened again."""
        await self._stub.ResetCamera(api.ResetCameraRequest(camera=CAMERA), timeout=self._call_s)

    async def still(self) -> float:
        """Take one; return the seconds until it was here."""
        request = api.CaptureRequest(camera=CAMERA, max_inline_bytes=_MOST_INLINE_BYTES)
        started = time.perf_counter()
        answer = await self._stub.Capture(request, timeout=self._call_s)
        took_s = time.perf_counter() - started
        self.pictures.append(_size(answer.image_data))
        return took_s

    async def frames(self) -> list[tuple[int, int, int]]:
        """Return width, height and bytes of some live frames."""
        found = []
        call = self._stub.LiveView(api.LiveViewRequest(camera=CAMERA), timeout=self._call_s)
        async for response in call:
            if response.HasField("frame"):
                found.append(_size(response.frame.data))
            if len(found) == _COMPARED:
                call.cancel()
                return found
        raise SystemExit(f"{self.name}: live view has ended")

    def own_cpu_s(self) -> float:
        """Return the processor time of the server's process."""
        return _cpu_s(self.server.pid)

    def workers_cpu_s(self) -> float:
        """Return that of its workers."""
        workers = psutil.Process(self.server.pid).children(recursive=True)
        return sum(_cpu_s(worker.pid) for worker in workers)


async def compare(service: Server, bare: Server, plan: Plan) -> list[Ratio]:
    """Measure, print a line for each side of each figure, and return the ratios."""
    async with AsyncExitStack() as stack:
        sides = []
        for name, server in (("service", service), ("bare library", bare)):
            channel = grpc.aio.insecure_channel(server.address, options=_OPTIONS)
            stub = CameraServiceStub(await stack.enter_async_context(channel))
            sides.append(Side(name, server, stub, plan.call_s))
        ratios = [await _stills(sides, plan)]
        _same("live frame", *[await side.frames() for side in sides])
        ratios += [await _live(sides, viewers, plan) for viewers in _VIEWERS]
    return ratios


def judge(ratios: Sequence[Ratio]) -> None:
    """Print the ratios with their bounds; exit when one is over."""
    over = [known.what for known in ratios if known.ratio > known.bound]
    for known in ratios:
        held = "OVER" if known.what in over else "held"
        print(
            f"{known.what}, service : bare library  {known.ratio:.2f}, bound {known.bound}, {held}"
        )
    print(f"load average {os.getloadavg()[0]:.1f}")
    if over:
        sys.exit(f"over the bound: {'; '.join(over)}")


async def _stills(sides: Sequence[Side], plan: Plan) -> Ratio:
    for number in range(plan.stills):
        if number % (plan.stills_per_reset or plan.stills) == 0:
            for side in sides:
                if plan.stills_per_reset:
                    await side.reset()
                for _ in range(plan.warm_up):
                    await side.still()
        for side in sides if number % 2 else reversed(sides):
            await asyncio.sleep(random.uniform(0, plan.pause_s))
            side.took_s.append(await side.still())
    _same("still", *[side.pictures for side in sides])
    means = []
    for side in sides:
        means.append(_middle_mean(side.took_s))
        median, p90 = (statistics.quantiles(side.took_s, n=10)[at] for at in (4, 8))
        print(
            f"still, whole RPC, {side.name:12}  {means[-1] * 1e3:.1f} ms  "
            f"(p50 {median * 1e3:.1f}, p90 {p90 * 1e3:.1f})"
        )
    return Ratio("still", means[0] / means[1], _STILL_BOUND)


@dataclass(frozen=True)
class _Turn:
    """A while of live view: processor time for each frame delivered, in us, and its workers' part.

    Also the frames of a viewer in a second.
    """

    cpu_us: float
    workers_us: float
    fps: float

    @classmethod
    async def take(cls, side: Side, viewers: int, seconds: float) -> Self:
        """View for so long, after a start that does not count."""
        meters = [side.own_cpu_s, side.workers_cpu_s]
        seen, (own_s, workers_s) = await harness.watched(
            side.server, "live", viewers, seconds, meters
        )
        us = 1e6 / seen.count()
        return cls((own_s + workers_s) * us, workers_s * us, seen.count() / viewers / seconds)


async def _live(sides: Sequence[Side], viewers: int, plan: Plan) -> Ratio:
    what = f"{viewers} viewer{'s' if viewers > 1 else ''}"
    turns: list[list[_Turn]] = [[] for _ in sides]
    for _ in range(plan.rounds):
        for side, taken in zip(sides, turns, strict=True):
            taken.append(await _Turn.take(side, viewers, plan.seconds))
    costs = []
    for side, taken in zip(sides, turns, strict=True):
        # Of the rounds the median: other work on the machine makes one or the other dear.
        cpu_us, workers_us, fps = map(statistics.median, zip(*map(astuple, taken), strict=True))
        split = f"; its worker's part {workers_us:.0f}" if workers_us else ""
        print(
            f"live, {what}, {side.name:12}  {cpu_us:.0f} us CPU a delivered frame, "
            f"at {fps:.1f} fps{split}"
        )
        costs.append(cpu_us)
    return Ratio(f"live CPU, {what}", costs[0] / costs[1], _LIVE_BOUND)


def _size(data: bytes) -> tuple[int, int, int]:
    return (*whole_size(data), len(data))


def _same(what: str, *known: list[tuple[int, int, int]]) -> None:
    """Print what the pictures of both are; exit when they are not of the same size."""
    usual = [statistics.median(size for _, _, size in pictures) for pictures in known]
    ours, theirs = ({(width, height) for width, height, _ in pictures} for pictures in known)
    texts = [
        f"{width}x{height} in {size:,.0f} bytes"
        for size, pictures in zip(usual, known, strict=True)
        for width, height, _ in pictures[-1:]
    ]
    print(f"{what}: {texts[0]}, bare library {texts[1]}")
    if ours != theirs or abs(usual[0] - usual[1]) > _SAME * usual[1]:
        raise SystemExit(f"not the same work: the sizes of a {what} differ")


def _middle_mean(values: Sequence[float]) -> float:
    """Return the mean of the middle half.

    Of free-running sensors half of a still is the wait for the next frame, of which a median says
    less; and a disk that is slow for a while, as others use it, would rule the mean of all.
    """
    cut = len(values) // 4
    return statistics.mean(sorted(values)[cut : len(values) - cut])


def _cpu_s(pid: int) -> float:
    """Return a process's user and system time, exactly: /proc has it in steps of 10 ms only."""
    return time.clock_gettime(~pid << 3 | 2)  # its clock, as clock_getcpuclockid(3) numbers it
