"""How much of the time between two frames the worker's encoder may take."""

_SHARE = 0.8
"""The rest is for reading the camera."""
_WINDOW_NS = 500_000_000


class EncoderBudget:
    """Measures it, half a second at a time."""

    def __init__(self) -> None:
        self._since_ns = 0
        self._encode_s = 0.0

    def is_exceeded(self, taken_ns: int, encode_s: float) -> bool:
        """Count a frame, taken by the monotonic clock; say whether too much of a window is used."""
        passed_ns = taken_ns - self._since_ns
        self._encode_s += encode_s
        if passed_ns < _WINDOW_NS:
            return False
        # Where frames come more seldom, or after a pause, there is time enough.
        exceeded = passed_ns < 2 * _WINDOW_NS and self._encode_s > _SHARE * passed_ns / 1e9
        self._since_ns, self._encode_s = taken_ns, 0.0
        return exceeded
