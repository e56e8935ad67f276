"""A scan without the command line. Run it again after any interruption: it resumes.

python scan_vase.py [HOST:PORT [CAMERA...]]
"""

import asyncio
import sys
from pathlib import Path

from camsvc_client import DEFAULT_ADDRESS, AsyncCameraClient, Retry
from camsvc_client.scanner import Plan, Progress, Scan, cylinder
from turntable import connect


def show(progress: Progress) -> None:
    """Print how far it is."""
    print(f"{progress.done} of {progress.total} pictures")


async def main(address: str = DEFAULT_ADDRESS, *cameras: str) -> None:
    """Scan a vase."""
    plan = Plan(
        cameras=cameras or ("sim0",),
        points=cylinder(4, 2, height_mm=100),
        focus_diopters=8.2,
        exposure_us=20_000,
    )
    scan = Scan(Path("vase"), plan, on_progress=show)
    # Left alone at night, it waits for a service that is restarting.
    async with AsyncCameraClient(address, retry=Retry(reconnect_s=120)) as client:
        result = await scan.run(client, connect())
    for (point, camera), why in result.missing.items():
        print(f"no picture of point {point} by {camera}: {why}")


asyncio.run(main(*sys.argv[1:]))
