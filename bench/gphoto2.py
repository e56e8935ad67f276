"""What our layer costs on top of python-gphoto2, on the virtual camera of the tests' rig.

Both servers have a virtual camera of their own, of the same picture and live frame.

    make bench-gphoto2
    make bench-gphoto2 ARGS="--stills 20 --rounds 1"
"""

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import beside
from bench import live_servers as servers
from tests.rigs.gphoto2.rig import Rig
from tests.rigs.running import RigMissing
from tests.support.scenes import camera

_FPS = 15.0
_PLAN = beside.Plan(stills_per_reset=20)
"""The virtual camera takes 26 pictures."""


async def main(plan: beside.Plan) -> None:
    """Start both servers, measure, stop them."""
    with contextlib.ExitStack() as stack:
        ours, theirs = (made(stack) for _ in range(2))
        keys: dict[str, Any] = {**ours.settings, "live_fps": _FPS, "env": dict(ours.env)}
        kept = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        iolibs, port = theirs.settings["iolibs"], theirs.settings["port"]
        # libgphoto2 keeps settings at home.
        env = {**theirs.env, "HOME": str(kept)}
        async with (
            servers.service(camera(beside.CAMERA, driver="gphoto2", **keys)) as service,
            servers.bare("gphoto2", kept, iolibs, port, _FPS, env=env) as peer,
        ):
            ratios = await beside.compare(service, peer, plan)
    beside.judge(ratios)


def made(stack: contextlib.ExitStack) -> Rig:
    """Make a rig that lasts as long as `stack`; exit where there can be none."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    try:
        return stack.enter_context(contextlib.closing(Rig(folder)))
    except RigMissing as why:
        sys.exit(str(why))


if __name__ == "__main__":
    asyncio.run(main(_PLAN.asked(__doc__)))
