"""What our layer costs on top of Picamera2, on the virtual cameras of the tests' rig: 8 megapixels.

The bare server runs under the Python that has Picamera2, and so does our worker. Both pay for the
virtual sensor, which is up to a third of what a live frame costs here, and nothing on a Pi.

    make bench-picamera2
    make bench-picamera2 ARGS="--stills 20 --rounds 1"
"""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from bench import beside
from bench import live_servers as servers
from tests.rigs.picamera2.build import build
from tests.rigs.picamera2.rig import EIGHT_MEGAPIXELS, RigCamera
from tests.rigs.running import RigMissing, run

_FRAME_S = 1 / 15
_PLAN = beside.Plan(stills=200, pause_s=_FRAME_S)

_PACKAGES = ("grpcio", "protobuf", "googleapis-common-protos")
"""What the generated code needs, and that Python lacks."""


def packages(python: Path) -> Path:
    """Return the folder of what that Python lacks, installed when it is not there yet.

    Raises:
        RigMissing: it could not be installed.
    """
    constraints = servers.ROOT / "constraints.txt"
    folder = servers.ROOT / ".cache/bench/picamera2"
    stamp, wanted = folder / ".installed", f"{python}\n{constraints.read_text()}"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing gRPC into {folder.relative_to(servers.ROOT)}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        pip = (python, "-m", "pip", "install", "--quiet", "--root-user-action=ignore")
        run(*pip, "--target", folder, "--constraint", constraints, *_PACKAGES)
        stamp.write_text(wanted)
    return folder


async def main(plan: beside.Plan) -> None:
    """Start both servers, measure, stop them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            python = build()
            paths = [servers.ROOT / "clients/python", packages(python)]
        except RigMissing as why:
            sys.exit(str(why))
        left, right = (
            RigCamera(python, source, folder / source, EIGHT_MEGAPIXELS)
            for source in ("left", "right")
        )
        kept = folder / "bare"
        kept.mkdir()
        async with (
            servers.service(left.settings(beside.CAMERA)) as service,
            servers.bare(
                "picamera2", kept, right.source, env=right.env, python=python, paths=paths
            ) as peer,
        ):
            ratios = await beside.compare(service, peer, plan)
    beside.judge(ratios)


if __name__ == "__main__":
    asyncio.run(main(_PLAN.asked(__doc__)))
