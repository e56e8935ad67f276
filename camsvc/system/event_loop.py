"""An event loop whose time stands still while its process does.

A process that was stopped (`SIGSTOP`, `docker pause`) or got no processor for seconds would take
every other one for hung when it goes on: all its time-outs have passed.
"""

import asyncio
import time

_LOOK_S = 0.25
"""How often it looks at the clock at least."""

_PAUSE_S = 1.0
"""A loop that looked at the clock last so long ago was not running in between."""


def loop_time() -> float:
    """Return the event loop's time, in seconds: that of deadlines and of all waits."""
    return asyncio.get_running_loop().time()


class PausableLoop(asyncio.SelectorEventLoop):
    """Counts no time in which it did not run, in `time()` and so in all time-outs."""

    def __init__(self) -> None:
        self._seen_at = time.monotonic()
        self._paused_s = 0.0
        super().__init__()
        self._look()

    def time(self) -> float:
        """Return seconds. Called several times for each message that is sent: be quick."""
        now = time.monotonic()
        if now - self._seen_at > _PAUSE_S:
            self._paused_s += now - self._seen_at
        self._seen_at = now
        return now - self._paused_s

    def _look(self) -> None:
        """Look at the clock also where nothing else is to be done for long."""
        self.call_later(_LOOK_S, self._look)
