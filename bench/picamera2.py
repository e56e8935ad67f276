"""What the service costs beside Picamera2 by itself, on the rig: stills and live view.

Both do the same work on a camera of the rig each, in turns: a still begun after it was asked for,
encoded, synced to disk; every live frame encoded. Ours also sends it over gRPC.

    make bench-picamera2
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import grpc
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from bench import live_harness, live_servers
from tests.rigs.picamera2.rig import EIGHT_MEGAPIXELS, RigCamera, cameras

_STILLS, _ROUNDS, _LIVE_S = 200, 4, 5.0
_WARM_UP = 10
_FRAME_S = 1 / 15
_STILL_BOUND, _LIVE_BOUND = 1.1, 1.2
_CALL_S = 30.0


class Bare:
    """The peer's process, which does one thing at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, camera: RigCamera) -> "Bare":
        """Start it, on a camera of the rig."""
        program = live_servers.ROOT / "bench/peers/bare_picamera2.py"
        process = await asyncio.create_subprocess_exec(
            *(str(camera.python), str(program), camera.source),
            env=camera.env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        bare = cls(process)
        await bare._answer()
        return bare

    async def still_s(self, path: Path) -> float:
        """Have it take a still; return how long that took."""
        return float(str(await self._do(f"still {path}")))

    async def live(self, seconds: float) -> tuple[int, float]:
        """Have it encode live frames; return how many, and the CPU seconds."""
        frames, cpu_s = json.loads(json.dumps(await self._do(f"live {seconds}")))
        return frames, cpu_s

    async def end(self) -> None:
        """End it."""
        self._process.kill()
        await self._process.wait()

    async def _do(self, command: str) -> object:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        return await self._answer()

    async def _answer(self) -> object:
        assert self._process.stdout is not None
        async with asyncio.timeout(_CALL_S):
            line = await self._process.stdout.readline()
        if not line:
            raise SystemExit("the bare peer has ended")
        return json.loads(line)


async def stills(service: live_servers.Server, bare: Bare, count: int, folder: Path) -> float:
    """Print what a still takes, of both in turns; return the ratio."""
    ours, theirs, drivers = [], [], []
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(service.address, options=options) as channel:
        stub = CameraServiceStub(channel)
        for number in range(_WARM_UP + count):
            # Else the two fall into step with the sensors, and one waits longer each time.
            await asyncio.sleep(random.uniform(0, _FRAME_S))
            started = time.perf_counter()
            request = api.CaptureRequest(camera="bench", max_inline_bytes=2**26)
            answer = await stub.Capture(request, timeout=_CALL_S)
            took_s = time.perf_counter() - started
            await asyncio.sleep(random.uniform(0, _FRAME_S))
            bare_s = await bare.still_s(folder / f"{number}.jpg")
            if number >= _WARM_UP:
                ours.append(took_s)
                drivers.append(answer.capture.timing.driver.ToNanoseconds() / 1e9)
                theirs.append(bare_s)
    # Means: half of it is the wait for the next frame, which is anything up to a frame.
    ratio = statistics.mean(ours) / statistics.mean(theirs)
    print(
        f"still, {count} each: RPC {_ms(ours)} (driver {_ms(drivers)}), bare {_ms(theirs)}; "
        f"ratio {ratio:.3f}, bound {_STILL_BOUND}"
    )
    return ratio


async def live(service: live_servers.Server, bare: Bare, seconds: float) -> float:
    """Print what a live frame costs with one viewer, of both in turns; return the ratio."""
    our_s, our_frames, worker_s, their_s, their_frames = 0.0, 0, 0.0, 0.0, 0
    for _ in range(_ROUNDS):
        frames, used = await live_harness.watched(
            service, "live", 1, seconds, [service.cpu_s, service.workers_cpu_s]
        )
        our_frames += frames.count()
        our_s, worker_s = our_s + sum(used), worker_s + used[1]
        count, cpu_s = await bare.live(seconds)
        their_frames, their_s = their_frames + count, their_s + cpu_s
    all_of_it, worker = our_s / our_frames, worker_s / our_frames
    theirs = their_s / their_frames
    print(
        f"live CPU a frame, {_ROUNDS * seconds:g} s each: worker {worker * 1e3:.2f} ms, bare "
        f"{theirs * 1e3:.2f} ms; ratio {worker / theirs:.3f}, bound {_LIVE_BOUND}; "
        f"at {our_frames / _ROUNDS / seconds:.1f} and {their_frames / _ROUNDS / seconds:.1f} fps"
    )
    print(
        f"with the service's part, for one viewer: {all_of_it * 1e3:.2f} ms; "
        f"ratio {all_of_it / theirs:.3f}, stated"
    )
    return worker / theirs


def _ms(seconds: list[float]) -> str:
    return f"{statistics.mean(seconds) * 1e3:.1f} ms"


async def main() -> None:
    """Start both, measure, stop them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stills", type=int, default=_STILLS)
    parser.add_argument("--seconds", type=float, default=_LIVE_S)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        left, right = cameras(folder, EIGHT_MEGAPIXELS)
        async with live_servers.service(left.settings("bench")) as service:
            bare = await Bare.start(right)
            try:
                still = await stills(service, bare, arguments.stills, folder)
                frame = await live(service, bare, arguments.seconds)
            finally:
                await bare.end()
    if still > _STILL_BOUND or frame > _LIVE_BOUND:
        sys.exit("over the bound")


if __name__ == "__main__":
    asyncio.run(main())
