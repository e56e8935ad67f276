"""Event loops with virtual time. A test that leaves one open fails itself, and no later one.

A loop that is collected open warns of itself and its sockets at a time of the collector's choosing,
which may be in the middle of any other test.
"""

import asyncio
import contextlib

import looptime

_made: list[asyncio.AbstractEventLoop] = []


def new_virtual_loop() -> asyncio.AbstractEventLoop:
    """Return a loop whose time begins at 0 and passes only while it waits."""
    loop: asyncio.AbstractEventLoop = looptime.new_event_loop(start=0)
    _made.append(loop)
    return loop


def close_those_left() -> int:
    """Close the loops that were left open, with their tasks; return how many there were."""
    left = [loop for loop in _made if not loop.is_closed()]
    _made.clear()
    for loop in left:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(Exception):  # the test has failed already
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()
    return len(left)
