"""The service, with a window into it: for each line on its standard input, a line of counts.

python -m bench.live_probe serve --config FILE --listen HOST:PORT --data-dir DIR
"""

import asyncio
import gc
import json
import os
import sys
from pathlib import Path

from camsvc import app, logs
from camsvc.config.settings import load
from camsvc.live.feed import LiveFeed


def counts() -> dict[str, int]:
    """Return what viewers might leave behind, of which none should be more afterwards."""
    gc.collect()
    feeds = [thing for thing in gc.get_objects() if isinstance(thing, LiveFeed)]
    descriptors = os.listdir("/proc/self/fd")
    memory = [os.fstat(int(fd)) for fd in descriptors if _is_worker_memory(fd)]
    return {
        "viewers": sum(feed.statistics.viewers for feed in feeds),
        "tasks": len(asyncio.all_tasks()),
        "variants": sum(feed.statistics.variants for feed in feeds),
        "shared blocks": len(memory),
        "shared slots": sum(stat.st_size >> 30 for stat in memory),
    }


def _is_worker_memory(fd: str) -> bool:
    try:
        return "camsvc-worker" in os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return False


async def main(config: str, listen: str, data_dir: str) -> None:
    """Serve, and answer on the standard streams."""
    settings = load(Path(config), listen=listen, data_dir=data_dir)
    log = logs.configure(settings.service.log_format, settings.service.log_level, str)
    await asyncio.gather(app.serve(settings, log), _answer())


async def _answer() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while await reader.readline():
        print(json.dumps(counts()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[3], sys.argv[5], sys.argv[7]))
