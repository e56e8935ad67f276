"""An even selection of frames, at a rate below the camera's."""

_SMOOTHING = 0.1


class FrameRateLimiter:
    """Says which frames to take. Without a rate: all.

    Frames are taken by a schedule of due times, not by the time since the last one taken: 20 of 30
    frames a second then come as 1, 2, 1, 2 intervals instead of falling to 15. A frame that comes
    less than half of the camera's interval before its time is as near to it as the next one.
    """

    def __init__(self, max_fps: float | None) -> None:
        self._interval_s = 1 / max_fps if max_fps else 0.0
        self._due_s = 0.0
        self._last_s = 0.0
        self._camera_interval_s = 0.0

    def takes(self, time_s: float) -> bool:
        """Whether to take the frame of this moment. To be asked once for every frame."""
        if not self._interval_s:
            return True
        since_last_s = time_s - self._last_s
        self._last_s = time_s
        if since_last_s < 0:  # the clock was set back: what was due then is due no longer
            self._due_s = time_s
        elif since_last_s < 1:  # else it is the first one, or comes after a pause
            difference = since_last_s - self._camera_interval_s
            self._camera_interval_s += difference * (_SMOOTHING if self._camera_interval_s else 1)
        if time_s < self._due_s - min(self._camera_interval_s, self._interval_s) / 2:
            return False
        behind = time_s > self._due_s + self._interval_s
        self._due_s = (time_s if behind else self._due_s) + self._interval_s
        return True
