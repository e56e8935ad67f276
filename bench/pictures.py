"""The pictures that all servers of a comparison show: the same ones, at the same rate.

Also imported by the peers, in environments of their own: needs NumPy and OpenCV only.
"""

import time

import cv2
import numpy as np
import numpy.typing as npt

FPS = 30.0
_DIFFERENT = 8
"""Pictures made beforehand, so that making them costs no server anything."""


def picture(width: int, height: int, number: int) -> npt.NDArray[np.uint8]:
    """Return blue-first pixels with about the detail of a photograph, moving with `number`."""
    random = np.random.default_rng(1)
    coarse = random.integers(0, 255, (height // 40, width // 40, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = random.integers(-5, 6, (height, width, 1), np.int16)
    pixels = np.clip(smooth.astype(np.int16) + grain, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.roll(pixels, 16 * number, axis=1))


class Source:
    """A camera read as a `cv2.VideoCapture` is; `read` waits for the next picture."""

    def __init__(self, width: int = 1920, height: int = 1080, fps: float = FPS) -> None:
        self._pictures = [picture(width, height, number) for number in range(_DIFFERENT)]
        self._clock = Clock(fps)
        self._count = 0

    def read(self) -> tuple[bool, npt.NDArray[np.uint8]]:
        """Return whether there is a picture, and the picture."""
        self._clock.wait()
        self._count += 1
        return True, self._pictures[self._count % _DIFFERENT]


class Clock:
    """Ticks at a rate; when late, goes on from there, as a sensor would."""

    def __init__(self, fps: float) -> None:
        self._interval_s = 1 / fps
        self._next = 0.0

    def wait(self) -> None:
        """Sleep until the next tick."""
        now = time.monotonic()
        if now - self._next > self._interval_s:
            self._next = now
        self._next += self._interval_s
        time.sleep(max(0.0, self._next - now))
