"""Background tasks: an unforeseen error is logged, and the work begins again."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger()


async def keep_running(
    name: str,
    work: Callable[[], Awaitable[None]],
    *,
    first_pause_s: float = 1.0,
    longest_pause_s: float = 60.0,
) -> None:
    """Run `work` until it returns or this is cancelled; begin it again whenever it raises.

    Each error is logged with its traceback. The pause before the next run doubles with each error
    in a row, up to `longest_pause_s`; a run that lasted longer than that ends the row.
    """
    loop = asyncio.get_running_loop()
    pause_s = first_pause_s
    while True:
        started = loop.time()
        try:
            await work()
        except Exception:
            if loop.time() - started > longest_pause_s:
                pause_s = first_pause_s
            _log.exception("unhandled exception", task=name, restart_in_s=pause_s)
        else:
            return
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, longest_pause_s)
