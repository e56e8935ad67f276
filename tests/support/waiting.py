"""Waits with a limit, for what cannot be awaited."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.support.timing import Waits


async def until(holds: Callable[[], Awaitable[bool]], what: str, *, within_s: float = 10.0) -> None:
    """Look again and again until something holds; fail when it does not within the limit.

    The longer it takes, the rarer are the looks, each of which may be a call to the service. On a
    busy machine, the limit is prolonged by how long processors were waited for, to six times as
    much at most.
    """
    begun, waits = time.monotonic(), None
    while not await holds():
        waited_s = time.monotonic() - begun
        if waits is None and waited_s > within_s / 10:
            waits = Waits()  # most waits are over before, and need none
        if waits is not None and waited_s > within_s:
            late_s = waited_s - Waits().since(waits)
            in_time = late_s <= within_s and waited_s <= 6 * within_s
            assert in_time, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(min(max(0.005, waited_s / 20), 0.05))


async def workers_gone(*, within_s: float = 2.0) -> None:
    """Wait until the workers whose start was given up in this process have ended."""

    async def gone() -> bool:
        return not any(task.get_name().startswith("worker ") for task in asyncio.all_tasks())

    await until(gone, "no worker is left", within_s=within_s)


async def finished(process: asyncio.subprocess.Process, *, within_s: float) -> tuple[int, str, str]:
    """Return a command's exit code, output and errors; kill it when it outlasts the limit."""
    try:
        async with asyncio.timeout(within_s):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, out.decode(), (err or b"").decode()
