"""A live stream that FFmpeg decodes: H.264 and whatever else, by RTSP, HTTP, UDP ...

Damage on the way cannot be seen in what a decoder gives, so it is said that it cannot. Nor can a
picture's arrival: it is when the decoder gave it, unless that had no need to wait for any. Then
what it gives has been there before: after opening, it reads on in what it has looked at.
"""

import time

from camsvc.drivers.opencv.handle import Handle, frame
from camsvc.drivers.opencv.pipe import Pipe
from camsvc.model.errors import DeviceAway, DriverError
from camsvc.model.values import Frame
from camsvc.system import posix

_WAITED_S = 0.05
"""A reader that had to wait for so long, in one go or in several, is at the stream's end."""

_CATCH_UP_S = 3.0
"""How long it may not have to; if longer, reading does not keep up with the stream."""


class DecodedStream:
    """The pictures of an open handle, which may read from a pipe."""

    def __init__(self, handle: Handle, pipe: Pipe | None = None) -> None:
        self.details = {
            **handle.details,
            "integrity": "frames are decoded; damage on the way cannot be seen",
        }
        self.size = handle.size
        self._handle = handle
        self._pipe = pipe
        self._waited_s = 0.0
        """How long frames were waited for since the last time that it was enough."""
        self._caught_up_at = time.monotonic()
        self._is_current = False

    def wait(self, limit_s: float) -> int:
        while True:
            self._grab()
            now = time.monotonic()
            if self._waited_s >= _WAITED_S:
                self._waited_s, self._caught_up_at, self._is_current = 0.0, now, True
            if now - self._caught_up_at > _CATCH_UP_S:
                raise DriverError(
                    f"the stream is behind after {_CATCH_UP_S:g} s of reading on, so that its "
                    "pictures would be old: lower its size or rate, or give it a faster machine"
                )
            if self._is_current:
                return time.monotonic_ns()

    def _grab(self) -> None:
        begun = time.monotonic() - posix.busy_s()
        if self._handle.grab() is None:
            raise DeviceAway(
                "reading from the camera failed: its stream ended, or no frame came for three "
                "times read_timeout_s"
            )
        self._waited_s += max(0.0, time.monotonic() - posix.busy_s() - begun)

    def take(self) -> Frame:
        data = self._handle.retrieve()
        self.size = (data.shape[1], data.shape[0])
        return frame(0, data)

    def stop(self) -> None:
        if self._pipe is not None:  # else OpenCV's wait ends by its own time-out
            self._pipe.stop()

    def close(self) -> None:
        self._handle.release()
        if self._pipe is not None:
            self._pipe.close()
