"""What our layer costs on top of python-gphoto2, on the virtual camera of the tests' rig.

Beside the service, in the same run and by turns, the least that a server on the bare library in one
process can do (`peers/bare_gphoto2.py`): the same pictures, to the same clients, over gRPC.

    make bench-gphoto2
"""

import asyncio
import contextlib
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import grpc
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from bench import live_harness as harness
from bench import live_servers as servers
from tests.rigs.gphoto2.rig import Rig, missing

STILLS, WARM_UP, PER_CARD = 100, 10, 20
FPS = 15.0
ROUNDS, SECONDS = 4, 5.0
CALL_S = 30
STILL_BOUND = 1.1
LIVE_BOUNDS = {10: 1.2, 1: math.inf}
"""By viewers. The worker's share, about 0.5 ms a frame, is the same for one as for many; and the
virtual camera's own part of it is next to nothing, which no real one's is."""
OPTIONS = [("grpc.max_receive_message_length", -1)]


def settings(rig: Rig) -> str:
    """Return the service's settings."""
    given = {**rig.settings, "id": "bench", "driver": "gphoto2", "live_fps": FPS}
    lines = [f"{key} = {json.dumps(value)}" for key, value in given.items()]
    env = ", ".join(f"{key} = {json.dumps(value)}" for key, value in rig.env.items())
    return "\n".join(["[[cameras]]", *lines, f"env = {{ {env} }}"])


@contextlib.asynccontextmanager
async def bare(rig: Rig, folder: Path) -> AsyncIterator[servers.Server]:
    """Run the bare server."""
    program = str(servers.ROOT / "bench/peers/bare_gphoto2.py")
    arguments = (str(rig.settings["iolibs"]), str(rig.settings["port"]), str(FPS), str(folder))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, program, *arguments),
        stdout=asyncio.subprocess.PIPE,
        env={**servers.ENV, **rig.env},
    )
    async with servers.ended(process):
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        yield servers.Server(process.pid, f"127.0.0.1:{port}", process)


async def stills(ours: servers.Server, theirs: servers.Server) -> float:
    """Take pictures by turns; return the ratio of the medians."""
    spent: dict[str, list[float]] = {"service": [], "bare library": []}
    async with (
        grpc.aio.insecure_channel(ours.address, options=OPTIONS) as our_channel,
        grpc.aio.insecure_channel(theirs.address, options=OPTIONS) as their_channel,
    ):
        stubs = [CameraServiceStub(our_channel), CameraServiceStub(their_channel)]
        for number in range(STILLS + WARM_UP):
            for stub, values in zip(stubs, spent.values(), strict=True):
                if number % PER_CARD == 0:
                    await stub.ResetCamera(api.ResetCameraRequest(camera="bench"), timeout=CALL_S)
                request = api.CaptureRequest(camera="bench", max_inline_bytes=64 * 2**20)
                started = time.perf_counter()
                await stub.Capture(request, timeout=CALL_S)
                if number >= WARM_UP:
                    values.append(time.perf_counter() - started)
    medians = []
    for name, values in spent.items():
        medians.append(statistics.median(values))
        p90 = statistics.quantiles(values, n=10)[8]
        print(f"still, whole RPC, {name:14} p50 {medians[-1] * 1e3:6.1f} ms  p90 {p90 * 1e3:6.1f}")
    return medians[0] / medians[1]


async def live(ours: servers.Server, theirs: servers.Server, viewers: int) -> float:
    """View by turns; return the ratio of the processor time that a delivered frame took."""
    costs = []
    for name, server, meters in (
        ("service", ours, [ours.cpu_s, ours.workers_cpu_s]),
        ("bare library", theirs, [theirs.cpu_s]),
    ):
        frames, cpu_s = 0, 0.0
        for _ in range(ROUNDS):
            seen, used = await harness.watched(server, "live", viewers, SECONDS, meters)
            frames += seen.count()
            cpu_s += sum(used)
        costs.append(cpu_s / frames)
        fps = frames / ROUNDS / SECONDS / viewers
        print(f"live, {viewers} viewers, {name:13} {costs[-1] * 1e6:7.0f} us CPU at {fps:.1f} fps")
    return costs[0] / costs[1]


async def main() -> None:
    """Start both servers, measure, stop them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with closing(Rig(folder)) as rig:
            async with servers.service(settings(rig)) as ours, bare(rig, folder) as theirs:
                ratios = [("still", await stills(ours, theirs), STILL_BOUND)]
                for viewers, bound in LIVE_BOUNDS.items():
                    ratio = await live(ours, theirs, viewers)
                    ratios.append((f"live CPU, {viewers} viewers", ratio, bound))
    for what, ratio, bound in ratios:
        limit = f"bound {bound}" if math.isfinite(bound) else "stated"
        print(f"{what}, service : bare library  {ratio:.2f}, {limit}")
    if any(ratio > bound for _, ratio, bound in ratios):
        sys.exit("over a bound")


if __name__ == "__main__":
    if why := missing():
        sys.exit(f"the rig cannot run: {why}")
    asyncio.run(main())
