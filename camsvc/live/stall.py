"""Stall detection: whether a camera that should deliver live frames has stopped doing so."""

import asyncio


class StallDetector:
    """Measures the time without a frame. While the camera carries out a command, none is due."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._commands = 0
        self._progress_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether the camera has a command to carry out."""
        return self._commands > 0

    @property
    def silent(self) -> bool:
        """Whether there was no frame for longer than the time-out, for whatever reason."""
        return _now() - self._progress_at > self.timeout_s

    @property
    def stalled(self) -> bool:
        """Whether there was none though one was due."""
        return self.silent and not self.busy

    def progress(self) -> None:
        """A frame has come, or the camera has just become ready to deliver one."""
        self._progress_at = _now()

    def command_began(self) -> None:
        """The camera has a command to carry out."""
        self._commands += 1

    def command_ended(self) -> None:
        """It has carried it out; frames are due from now on."""
        self._commands -= 1
        self.progress()


def _now() -> float:
    return asyncio.get_running_loop().time()
