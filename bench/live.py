"""Live view against its bounds: one run, one table.

Each figure is a ratio or a bound measured in this run; servers that are compared take turns, so
that noise of the machine affects both. The load average is next to each figure: a busy machine
makes latencies longer, and ratios a little different.

    make bench-live
    make bench-live ARGS="--only latency --seconds 2"
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable

from bench import live_cost, live_flow, live_stills
from bench.live_harness import Row

Part = Callable[[float], AsyncIterator[Row]]

PARTS: dict[str, Part] = {
    "cpu": live_cost.against_bare,
    "worker": live_cost.worker,
    "fastapi": live_cost.against_fastapi,
    "viam": live_cost.against_viam,
    "latency": live_flow.latency_and_evenness,
    "evenness": live_flow.latency_and_evenness,
    "slow": live_flow.slow_viewers,
    "coming": live_flow.coming_and_going,
    "captures": live_stills.captures_and_faults,
    "getframe": live_stills.crowds,
    "still": live_stills.still_delay,
}


async def main(parts: list[Part], seconds: float) -> None:
    """Measure and print; exit 1 when a bound is missed."""
    missed = 0
    print("| what | figure | bound | held | load |\n|---|---|---|---|---|", flush=True)
    for part in parts:
        async for row in part(seconds):
            held = "yes" if row.held else "NO"
            load = os.getloadavg()[0]
            print(f"| {row.what} | {row.figure} | {row.bound} | {held} | {load:.1f} |", flush=True)
            missed += not row.held
    if missed:
        sys.exit(f"{missed} missed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make bench-live", description=__doc__)
    parser.add_argument("--only", choices=PARTS, metavar="NAME", help=", ".join(PARTS))
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="length of a window; default 5, evenness 12 of"
    )
    arguments = parser.parse_args()
    chosen = [PARTS[arguments.only]] if arguments.only else list(dict.fromkeys(PARTS.values()))
    asyncio.run(main(chosen, arguments.seconds))
