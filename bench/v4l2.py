"""What our layer costs on top of OpenCV, on webcams of the kernel, in the rig's virtual machine.

That machine is emulated, and everything in it takes some ten times as long as outside: its ratios
mean something, its times do not. Two webcams send MJPG, which both servers hand on as it comes.

    make bench-v4l2
    make bench-v4l2 ARGS="--stills 10 --rounds 1"
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench import beside
from bench import live_servers as servers
from tests.rigs.running import RigMissing
from tests.rigs.v4l2.guest import HOST_CLOCK, PORT, Guest
from tests.rigs.v4l2.webcam import Webcam, make_frames
from tests.support.scenes import camera

_SIZE, _FPS = (640, 480), 5
"""A sensor's time is the only one that is not longer in there: 5 frames a second for that machine
are 50 for this one."""
_PLAN = beside.Plan(rounds=3, seconds=8.0, pause_s=1 / _FPS, call_s=120.0)

_FRAMES = "BENCH_FRAMES"
"""The variable that names the webcams' frames, in the guest."""
_INSIDE = "--inside"
_RESULT = "["
"""What the line begins with that is not for people."""
_SILENCE_S = 600.0
"""The longest from one line to the next: that of all stills."""


async def measure(plan: beside.Plan) -> list[beside.Ratio]:
    """Start both servers on a webcam each, measure, stop them. To be run in the guest."""
    frames = Path(os.environ[_FRAMES])
    with Webcam("A1", frames) as ours, Webcam("B1", frames) as theirs:
        ours.plug()
        theirs.plug()
        settings = camera(
            beside.CAMERA,
            driver="v4l2",
            device=str(ours.by_id),
            width_px=_SIZE[0],
            height_px=_SIZE[1],
            fps=_FPS,
            open_timeout_s=plan.call_s,
            attempt_timeout_s=plan.call_s,
        )
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            async with (
                servers.service(settings) as service,
                servers.bare("opencv", folder, theirs.node, *_SIZE, _FPS) as peer,
            ):
                return await beside.compare(service, peer, plan)


def in_guest(plan: beside.Plan) -> None:
    """Measure, and write to the host: lines for people, then the ratios as a list."""
    with open(PORT, "w", buffering=1, encoding="utf-8") as host, contextlib.redirect_stdout(host):
        ratios = asyncio.run(measure(plan))
        print(json.dumps([asdict(ratio) for ratio in ratios]))


def on_host(folder: Path) -> None:
    """Boot the guest, have it measure, and print what it says; `folder` is an empty one."""
    frames = folder / "frames"
    make_frames(frames)
    ratios: list[beside.Ratio] = []
    guest = Guest(
        folder,
        [sys.executable, "-m", "bench.v4l2", *sys.argv[1:], _INSIDE],
        folder=servers.ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/root", _FRAMES: str(frames)},
        silence_s=_SILENCE_S,
        clock=HOST_CLOCK,
    )
    print("in an emulated machine, some ten times as slow as this one", flush=True)
    with guest:
        for line in guest.lines():
            if line.startswith(_RESULT):
                ratios = [beside.Ratio(**known) for known in json.loads(line)]
            else:
                print(line, end="", flush=True)
    if not ratios:
        sys.exit(f"the virtual machine ended early; its last words:\n{guest.console[-3000:]}")
    beside.judge(ratios)


if __name__ == "__main__":
    inside = _INSIDE in sys.argv
    if inside:
        sys.argv.remove(_INSIDE)
    plan = _PLAN.asked(__doc__)  # refuses on the host already what is wrong
    if inside:
        in_guest(plan)
    else:
        try:
            with tempfile.TemporaryDirectory() as own:
                on_host(Path(own))
        except RigMissing as why:
            sys.exit(str(why))
