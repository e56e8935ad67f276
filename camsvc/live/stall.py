"""Stall detection: whether a camera that should deliver live frames has stopped doing so.

Only a frame is progress. The end of another call is none: a camera that takes a still each second
may have a live view that is dead. But it may also have been given no time for a frame.
"""

from camsvc.live.ports import LiveSource
from camsvc.system.event_loop import loop_time

_LEAST_CHANCE_S = 0.5
_CHANCE_FACTOR = 2.0
"""A first frame may take so much longer than the slowest one did before."""


class StallDetector:
    """Measures the time without a frame. While the camera carries out a command, none is due."""

    def __init__(self, source: LiveSource, timeout_s: float) -> None:
        self._source = source
        self._timeout_s = timeout_s
        self._commands = 0
        self._missed_since = 0.0
        """When the last frame came, or the camera began to be watched."""
        self._due_since = 0.0
        """Since when the camera has had nothing else to do."""
        self._interrupted = 0
        """How many commands have begun since the last frame."""
        self._slowest_s: float | None = None
        """How long a first frame takes, at most as far as is known."""

    @property
    def timeout_s(self) -> float:
        """How long there may be no frame: some cameras may be silent for long."""
        device = self._source.device
        return self._timeout_s + (device.max_silence_s if device is not None else 0.0)

    @property
    def busy(self) -> bool:
        """Whether the camera has a command to carry out."""
        return self._commands > 0

    @property
    def silent_s(self) -> float:
        """For how long there has been no frame, for whatever reason."""
        return loop_time() - self._missed_since

    @property
    def silent(self) -> bool:
        """Whether that is longer than the time-out."""
        return self.silent_s > self.timeout_s

    @property
    def stalled(self) -> bool:
        """Whether there was none though one was due."""
        enough_s = self.chance_s if self._interrupted > 1 else self.timeout_s
        return self.silent and not self.busy and loop_time() - self._due_since > enough_s

    @property
    def starved(self) -> bool:
        """Whether commands may have left the camera no time for a frame."""
        return self.silent and not self.busy and self._interrupted > 0

    @property
    def chance_s(self) -> float:
        """How long a camera that was interrupted again and again is given for a frame."""
        if self._slowest_s is None:
            return self.timeout_s
        least_s = max(_LEAST_CHANCE_S, self.timeout_s - self._timeout_s)
        return min(self.timeout_s, max(least_s, _CHANCE_FACTOR * self._slowest_s))

    def begin(self) -> None:
        """Frames are due from now on: the camera is watched, or has just become ready."""
        self._missed_since = self._due_since = loop_time()
        self._interrupted = 0

    def frame_came(self) -> None:
        """A frame has come."""
        if self._missed_since <= self._due_since:
            took_s = loop_time() - self._due_since
            self._slowest_s = max(took_s, 0.9 * (self._slowest_s or 0.0))
        self._missed_since = loop_time()
        self._interrupted = 0

    def command_began(self) -> None:
        """The camera has a command to carry out."""
        self._commands += 1
        self._interrupted += 1

    def command_ended(self) -> None:
        """It has carried it out; a frame is due."""
        self._commands -= 1
        self._due_since = loop_time()
