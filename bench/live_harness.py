"""What the rows of `bench.live` have in common: viewers, and what they saw."""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from bench.live_servers import ENV, Server

_START_S = 60.0


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    figure: str
    bound: str
    held: bool


@dataclass
class Frames:
    """What viewers have seen: for each a list of (received, acquired, sequence)."""

    viewers: list[list[tuple[int, int, int]]] = field(default_factory=list)
    ended: int = 0

    def within(self, began_ns: int, ended_ns: int) -> "Frames":
        """Return what was received within a window."""
        return Frames([[f for f in v if began_ns <= f[0] < ended_ns] for v in self.viewers])

    def count(self) -> int:
        """Return how many frames were delivered, to all viewers together."""
        return sum(map(len, self.viewers))


@dataclass
class Viewers:
    """Processes that view; see `bench.live_viewers`."""

    processes: list[asyncio.subprocess.Process]

    async def leave(self) -> Frames:
        """End them and return what they have seen."""
        frames = Frames()
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self.processes:
            assert process.stdout is not None
            answer = json.loads(await process.stdout.read())
            frames.viewers += answer["seen"]
            frames.ended += answer["ended"]
            await process.wait()
        return frames

    def stop_reading(self) -> None:
        """Stop the processes where they are; they go on existing, and never read again."""
        for process in self.processes:
            process.send_signal(signal.SIGSTOP)


@contextlib.asynccontextmanager
async def viewers(
    kind: str, server: Server, count: int, *, processes: int = 1, **spec: object
) -> AsyncIterator[Viewers]:
    """View with `count` viewers in `processes` processes, from their first frames on."""
    started = []
    try:
        for index in range(processes):
            share = count // processes + (index < count % processes)
            settings = {"kind": kind, "address": server.address, "camera": "bench",
                        "viewers": share, **spec}  # fmt: skip
            started.append(
                await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "bench.live_viewers", json.dumps(settings)),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    env=ENV,
                )
            )
        for process in started:
            assert process.stdout is not None
            async with asyncio.timeout(_START_S):
                line = await process.stdout.readline()
            if line != b"ready\n":
                raise SystemExit("viewers did not start")
        yield Viewers(started)
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def watched(
    server: Server,
    kind: str,
    count: int,
    seconds: float,
    meters: Sequence[Callable[[], float]],
    *,
    processes: int = 1,
    **spec: object,
) -> tuple[Frames, list[float]]:
    """View for a while; return the frames of that while, and how far each meter rose."""
    async with viewers(kind, server, count, processes=processes, **spec) as people:
        await asyncio.sleep(1)  # buffers fill, windows open
        began_ns, before = time.time_ns(), [meter() for meter in meters]
        await asyncio.sleep(seconds)
        after, ended_ns = [meter() for meter in meters], time.time_ns()
        frames = await people.leave()
    if frames.ended:
        raise SystemExit(f"{frames.ended} streams ended by themselves")
    return frames.within(began_ns, ended_ns), [b - a for a, b in zip(before, after, strict=True)]
