"""An event loop whose time stands still while its process does.

A process that was stopped (`SIGSTOP`, `docker pause`) or got no processor for seconds would take
every other one for hung when it goes on: all its time-outs have passed.
"""

import asyncio
import threading
import time

_LOOK_S = 0.25
_PAUSE_S = 1.0
"""A process that looked at the clock last so long ago was not running in between."""


class PausableLoop(asyncio.SelectorEventLoop):
    """Counts no time in which the process did not run, in `time()` and so in all time-outs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen_at = time.monotonic()
        self._paused_s = 0.0
        self._closing = threading.Event()
        super().__init__()
        threading.Thread(target=self._look, name="pauses", daemon=True).start()

    def time(self) -> float:
        with self._lock:
            now = time.monotonic()
            if now - self._seen_at > _PAUSE_S:
                self._paused_s += now - self._seen_at
            self._seen_at = now
            return now - self._paused_s

    def close(self) -> None:
        self._closing.set()
        super().close()

    def _look(self) -> None:
        """Look at the clock also while the loop waits for something for long."""
        while not self._closing.wait(_LOOK_S):
            self.time()
