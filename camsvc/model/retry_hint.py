"""When a refused client should come back: the one home of every retry hint.

A hint that is computed comes from `CaptureTimes` (what stills of a camera take) and `RetryHints`
(who was promised what); a hint that is always the same is one of the constants.
"""

from collections import deque

SERVICE_RESTART_S = 1.0
"""What a restart of the service takes."""

VIEWER_LEAVES_S = 1.0
"""After which a camera whose viewers are too many may have a place again."""

PLACE_FREED_S = 1.0
"""After which a service that has too many calls under way may have a place again."""

RUNNING_CAPTURE_S = 1.0
"""After which a capture that is RUNNING may have ended."""

_SLACK_FACTOR, _SLACK_S = 1.1, 0.01
"""A promised turn is this much longer than the estimate: a client that comes back a moment too
early is refused again, and gRPC clients give up after five attempts."""

_PROMISES = 16
"""Turns promised ahead; then the promises start from the front, as most clients have left."""

_UNKNOWN_S = 1.0
"""What a still is taken to last before the driver or any still has said."""

_SHORTEST_RECOVERY_S = 0.5


class CaptureTimes:
    """How long this camera's stills take, from its last ten or from the driver's guess."""

    def __init__(self) -> None:
        self.guess_s: float | None = None
        """The driver's guess, once it is known."""
        self._recent: deque[float] = deque(maxlen=10)

    def add(self, duration_s: float) -> None:
        """Note one successful attempt's duration."""
        self._recent.append(duration_s)

    @property
    def expected_s(self) -> float:
        """The longest of the last ten."""
        return max(self._recent, default=self.guess_s or _UNKNOWN_S)

    @property
    def shortest_s(self) -> float:
        """The shortest of the last ten; 0 when nothing is known."""
        return min(self._recent, default=self.guess_s or 0.0)


class RetryHints:
    """Seconds after which a client of one camera should come back. Times are of one clock."""

    def __init__(self, times: CaptureTimes) -> None:
        self._times = times
        self._promised = 0.0

    def busy_s(self, free_at: float, now: float) -> float:
        """Return after how many seconds a refused client finds the camera free.

        `free_at` is when the capture under way should end. Each refusal is promised the turn after
        the last promised one: clients that were refused together would otherwise come back
        together, and all but one be refused again.
        """
        slot = self._times.expected_s * _SLACK_FACTOR + _SLACK_S
        following = self._promised + slot
        in_use = free_at <= following <= free_at + _PROMISES * slot
        self._promised = following if in_use else free_at + _SLACK_S
        return self._promised - now


def recovery_s(back_off_s: float, longest_step_s: float, open_timeout_s: float) -> float:
    """Return after how many seconds a camera that is being recovered may be ready.

    `back_off_s` is what is left of the wait before the next step, `longest_step_s` what the longest
    step took when it was last tried.
    """
    return back_off_s + min(max(longest_step_s, _SHORTEST_RECOVERY_S), open_timeout_s)
