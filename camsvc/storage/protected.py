"""What retention leaves alone: captures that were acknowledged lately.

A reply may be lost and asked for again, and a reference is fetched after it was given. So a capture
stays for a time after its end, or after it was answered again by its request id. Times are those of
the event loop: a wall clock that jumps takes no picture.
"""

import asyncio


class Protected:
    """The captures that retention leaves alone. For the event loop's thread."""

    def __init__(self, min_age_s: float) -> None:
        self._min_age_s = min_age_s
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._acknowledged: dict[str, float] = {}
        """When, by capture id, in the order of time."""

    def acknowledge(self, capture_id: str) -> None:
        """Note that a capture is acknowledged to a client now."""
        self._acknowledged.pop(capture_id, None)
        self._acknowledged[capture_id] = self._loop.time()
        self._expire()

    @property
    def everything(self) -> bool:
        """Whether the start is so short ago that any capture may have been acknowledged lately."""
        return self._loop.time() < self._started + self._min_age_s

    def ids(self) -> list[str]:
        """Return the captures that are protected now."""
        self._expire()
        return list(self._acknowledged)

    def _expire(self) -> None:
        until = self._loop.time() - self._min_age_s
        while self._acknowledged:
            capture_id, time = next(iter(self._acknowledged.items()))
            if time > until:
                break
            del self._acknowledged[capture_id]
