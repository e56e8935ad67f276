"""Whether a source gives the same picture again and again, byte for byte."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from camsvc.drivers.opencv.handle import frame
from camsvc.model.errors import DriverError
from camsvc.model.values import Frame

if TYPE_CHECKING:
    import numpy.typing as npt

_NOTEWORTHY = 3
_ROWS = 16
"""Of decoded pictures, one row of so many is compared first: most differ in it."""


class Repeats:
    """Counts the pictures in a row that are the same.

    `limit` is how many are too many, 0 for none. After `noteworthy_s` of them there is a warning.
    """

    def __init__(self, limit: int, noteworthy_s: float = 10.0) -> None:
        self.limit = limit
        self._noteworthy_s = noteworthy_s
        self.count = 0
        """How often the last picture has come so far, in a row."""
        self._last: bytes | npt.NDArray[Any] | None = None
        self._since = 0.0

    def note(self, picture: "bytes | npt.NDArray[Any]") -> DriverError | None:
        """Compare a picture with the one before it; return an error where it is one too many."""
        if self._last is not None and _same(self._last, picture):
            self.count += 1
        else:
            self.count, self._since = 1, time.monotonic()
        self._last = picture
        return self._error() if self.limit and self.count >= self.limit else None

    def next_new(self, read: "Callable[[], tuple[int, npt.NDArray[Any]]]") -> Frame:
        """Read on to the first picture that is another one than the last.

        `read` waits for the next picture, and returns when it was taken, and its pixels.

        Raises:
            DriverError: too many are the same; or it is no picture.
        """
        for _ in range(max(1, self.limit - 1)):
            acquired_ns, data = read()
            if self.limit:
                self.note(data)
            if self.count <= 1:
                return frame(acquired_ns, data)
        raise self._error()

    @property
    def warnings(self) -> list[str]:
        """What a person should look at."""
        if self.count < _NOTEWORTHY or time.monotonic() - self._since < self._noteworthy_s:
            return []
        return [
            f"the same picture, byte for byte, has come for over {self._noteworthy_s:g} s: the "
            "camera may be showing an old one; look whether it still sees, else start it again"
        ]

    def _error(self) -> DriverError:
        return DriverError(
            f"the camera repeats its last frame: {self.limit} in a row are the same, byte for "
            "byte. It may have been unplugged; if its picture is truly that still (a covered "
            "lens), set repeat_limit = 0 in its settings"
        )


def _same(last: "bytes | npt.NDArray[Any]", picture: "bytes | npt.NDArray[Any]") -> bool:
    if isinstance(last, bytes) or isinstance(picture, bytes):
        return isinstance(last, bytes) and isinstance(picture, bytes) and last == picture
    if last.shape[0] > _ROWS and not np.array_equal(last[::_ROWS], picture[::_ROWS]):
        return False
    return np.array_equal(last, picture)
