"""An open `cv2.VideoCapture`, without its exceptions, and with its answers read back.

Only one thread at a time may use it, and none while another one releases it: that is how such
servers crash.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from camsvc.drivers.opencv import source
from camsvc.model.errors import DriverError, DriverFault
from camsvc.model.values import Frame

if TYPE_CHECKING:
    import numpy.typing as npt

_RETRY_PAUSE_S = 0.1
"""Before the first retry of a failed read where retries are allowed; it grows by as much."""

_USUAL_FPS, _MOST_FPS = 25.0, 1000.0
"""Where the rate is unknown; and what is not a rate but a clock's (90,000)."""

_MOST_ASPECT = 4.0
"""Of a pixel that a camera has; beyond, it is a mistake."""

_CHANNELS = ((), (1,), (3,), (4,))
"""Of frames that are pictures: what a device gives undecoded may have two, or none of these."""


def open_capture(number_or_path: Any, backend: int, parameters: Sequence[int]) -> cv2.VideoCapture:
    """Open a source. `parameters` are CAP_PROP numbers, each followed by its value."""
    return cv2.VideoCapture(number_or_path, backend, parameters)


class Handle:
    """A source that OpenCV reads, by a driver's settings."""

    def __init__(
        self, settings: Mapping[str, Any], name: int | str, parameters: Sequence[int] = ()
    ) -> None:
        """Open it by a name that OpenCV knows.

        Raises:
            DriverFault: the backend is not built in, or it is a file and not a video.
            DriverError: it did not open.
        """
        backend = _backend_id(settings["backend"])
        self._read_failures: int = settings["read_failures"]
        with _opencv_errors():
            self._capture = open_capture(name, backend, parameters)
        if not self._capture.isOpened():
            raise source.closed(settings)
        self.pictures_read = 0
        self._aspect = self._pixel_aspect()

    def get(self, prop: int) -> float:
        """Return a property as OpenCV reports it."""
        return float(self._capture.get(prop))

    def set(self, prop: int, value: float) -> bool:
        """Ask for a property's value; True is no proof that it was taken."""
        return bool(self._capture.set(prop, value))

    def grab(self) -> int | None:
        """Have the next frame taken; return when it was, in ns since the Unix epoch.

        None: there was none, `read_failures` retries included.
        """
        for failed in range(self._read_failures + 1):
            time.sleep(failed * _RETRY_PAUSE_S)
            with _opencv_errors():
                ok = self._capture.grab()
            if ok:
                acquired_ns = time.time_ns()
                self.pictures_read += 1
                return acquired_ns
        return None

    def retrieve(self) -> "npt.NDArray[Any]":
        """Return the frame that was grabbed, with square pixels.

        Raises:
            DriverError: it is empty.
        """
        with _opencv_errors():
            ok, data = self._capture.retrieve()
        if not ok or data is None or data.size == 0:
            raise DriverError("the camera delivered an empty frame")
        if self._aspect != 1 and data.shape[0] > 1:
            data = cv2.resize(data, self._square(*data.shape[1::-1]))
        return np.asarray(data)

    @property
    def backend(self) -> str:
        """What reads it, as OpenCV calls it."""
        return str(self._capture.getBackendName())

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in square pixels, as it reports them now."""
        width, height = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT
        return self._square(round(self.get(width)), round(self.get(height)))

    @property
    def fps(self) -> float:
        """Its rate as it says, or a usual one."""
        fps = self.get(cv2.CAP_PROP_FPS)
        return fps if 0 < fps <= _MOST_FPS else _USUAL_FPS

    @property
    def fourcc(self) -> str:
        """Its format in four characters, empty when unknown."""
        code = int(self.get(cv2.CAP_PROP_FOURCC))
        return code.to_bytes(4, "little").decode("ascii", "replace") if code > 0 else ""

    @property
    def details(self) -> dict[str, str]:
        """What GetCamera shows of it."""
        width, height = self.size
        return {
            "backend": self.backend,
            "size": f"{width}x{height}",
            "fps": f"{self.fps:g}",
            "fourcc": self.fourcc,
        }

    def release(self) -> None:
        """Close it."""
        self._capture.release()

    def _pixel_aspect(self) -> float:
        """Return a pixel's width by its height: analogue television's were not square."""
        width, height = self.get(cv2.CAP_PROP_SAR_NUM), self.get(cv2.CAP_PROP_SAR_DEN)
        if self.get(cv2.CAP_PROP_ORIENTATION_META) in (90, 270):  # OpenCV has turned its frames
            width, height = height, width
        aspect = width / height if width > 0 and height > 0 else 1.0
        return aspect if 1 / _MOST_ASPECT <= aspect <= _MOST_ASPECT else 1.0

    def _square(self, width: int, height: int) -> tuple[int, int]:
        """Return the size that shows a frame as it is meant, and loses nothing of it."""
        return round(width * max(self._aspect, 1)), round(height / min(self._aspect, 1))


def frame(acquired_ns: int, data: "npt.NDArray[Any]") -> Frame:
    """Return what was retrieved as a frame.

    Raises:
        DriverError: it is no picture.
    """
    # A JPEG as it came from the device has one line, and no channels.
    if data.ndim == 2 and data.shape[0] == 1 and data.dtype == np.uint8:
        return Frame(acquired_ns, None, data.tobytes(), "image/jpeg")
    if data.dtype not in (np.uint8, np.uint16) or data.shape[2:] not in _CHANNELS:
        raise DriverError(
            f"frames of {data.dtype} with the shape {data.shape} are not pictures; set another "
            "`fourcc`"
        )
    return Frame(acquired_ns, data)


def _backend_id(name: str) -> int:
    """Return OpenCV's number for a backend.

    Raises:
        DriverFault: this OpenCV does not have it.
    """
    number = int(getattr(cv2, f"CAP_{name.upper()}"))
    if name != "any" and not cv2.videoio_registry.hasBackend(number):
        built_in = map(cv2.videoio_registry.getBackendName, cv2.videoio_registry.getBackends())
        raise DriverFault(
            f"backend {name!r} is not built into this OpenCV, which has: any, "
            f"{', '.join(built_in).lower()}"
        )
    return number


@contextlib.contextmanager
def _opencv_errors() -> Iterator[None]:
    """Let no exception of OpenCV out: its text has paths of files in it."""
    try:
        yield
    except cv2.error as error:
        raise DriverError(f"OpenCV failed with code {error.code} while reading") from error
