"""Servers on a camera's bare library, in one process each: `peers/bare_LIBRARY.py`."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from bench import live_servers as servers

_START_S = 120.0


@contextlib.asynccontextmanager
async def bare(
    library: str,
    folder: Path,
    *arguments: object,
    env: Mapping[str, str],
    python: Path = Path(sys.executable),
    paths: Sequence[Path] = (),
) -> AsyncIterator[servers.Server]:
    """Run the server of a library, which keeps its pictures in `folder`.

    `paths` are where its `python` finds packages that it lacks.
    """
    process = await asyncio.create_subprocess_exec(
        *(str(python), "-m", f"bench.peers.bare_{library}", str(folder), *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        cwd=folder,
        env={**servers.ENV, **env, "PYTHONPATH": os.pathsep.join(map(str, (servers.ROOT, *paths)))},
    )
    async with servers.ended(process):
        assert process.stdout is not None
        async with asyncio.timeout(_START_S):
            line = await process.stdout.readline()
        if not line:
            raise SystemExit(f"the server on bare {library} has ended")
        yield servers.Server(process.pid, f"127.0.0.1:{int(line)}", process)
