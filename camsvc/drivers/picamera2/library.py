"""Picamera2 with a bound on every wait.

The library waits for ever in several ways, each of which has its answer here:

- A capture's job that no frame ends stays in the queue, and the next waits behind it, `stop` too:
  a job that is given up is cleared (`cancel_all_and_flush`) before anything else is called.
- An exception in the event loop's thread ends that thread, and what waits for it waits on: the
  loop here keeps the exception for the one that waits, and only a new opening starts another loop.
- `start`, `stop` and `configure` hold the GIL, so that no thread of this process could end them:
  an alarm of the system ends the process, and the service starts another.
"""

import contextlib
import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from importlib import metadata
from typing import Any

from camsvc.drivers.picamera2.alarm import bounded
from camsvc.drivers.picamera2.controls import Known, Values
from camsvc.drivers.picamera2.pixels import INSTALL
from camsvc.model.errors import DeviceInUse, DriverError

try:
    import libcamera
    from picamera2 import MappedArray, Picamera2
    from picamera2.previews import NullPreview
except ImportError as error:
    raise ImportError(f"Picamera2 is missing ({error}). {INSTALL}") from error

CALL_S = 5.0
"""How long the library may take to start, stop or configure: a matter of a few frames."""

_SLICE_S = 0.1
"""How soon a wait notices that the event loop has failed, or that it is not wanted any more."""

_REST_S, _SETTLE_S = 0.5, 0.3
"""Between stop and start, and after it: what users of a stuck ISP found to help."""

Request = Any
"""A picture in the camera's memory, to be released: Picamera2's CompletedRequest."""


class _EventLoop(NullPreview):  # type: ignore[misc]
    """Picamera2's own, but for what it does with an exception: it stays, and does no more.

    Going on would be a crash: nothing owns what was under way.
    """

    failure: Exception | None = None

    def handle_request(self, picam2: Picamera2) -> None:
        if self.failure is None:
            try:
                picam2.process_requests(self)
            except Exception as error:
                self.failure = error


def attached() -> list[dict[str, Any]]:
    """Return the cameras there are, by number, as libcamera describes them; opens none."""
    with library_errors("listing the cameras"):
        return list(Picamera2.global_camera_info())


class PiCamera:
    """One open camera, in one of its configurations."""

    def __init__(self, number: int) -> None:
        """Open a camera.

        Raises:
            DeviceInUse: another program holds it.
            DriverError: it does not open.
        """
        with library_errors("opening the camera"):
            self.library = Picamera2(number)
        self._loop = _EventLoop()
        self._configured: Values = {}
        self.longest_exposure_s = 0.0
        """Of those that were set since the frames were started, and may be under way."""

    @property
    def known_controls(self) -> dict[str, Known]:
        """The camera's controls as libcamera describes them in the present configuration."""
        return {name: Known(*about) for name, about in self.library.camera_controls.items()}

    @property
    def buffers(self) -> int:
        """How many pictures can be under way."""
        return int(self.library.libcamera_config.at(0).buffer_count)

    def configure(self, configuration: dict[str, Any]) -> dict[str, Any]:
        """Stop, and configure; return what the camera made of the configuration."""
        self.stop()
        with library_errors("configuring the camera"), bounded(CALL_S):
            # What is adjusted, Picamera2 writes into what it was given.
            streams = {k: dict(v) if isinstance(v, dict) else v for k, v in configuration.items()}
            self.library.configure(streams)
            given = dict(self.library.camera_configuration())
        self._configured = given["controls"]
        return given

    def start(self, controls: Values) -> None:
        """Make frames flow, the first one already with these controls; or none, if it fails."""
        with library_errors("starting the camera"), bounded(CALL_S):
            # Picamera2 itself sends a configuration's own controls at its first start only.
            self.library.set_controls({**self._configured, **controls})
            self.longest_exposure_s = _exposure_s(controls)
            if not self._loop_runs:
                self.library.start_preview(self._loop)
            try:
                self.library.start(show_preview=None)
            except Exception:
                with contextlib.suppress(Exception):
                    # Picamera2 takes it for stopped, and libcamera would keep it.
                    self.library.camera.stop()
                raise

    def stop(self) -> None:
        """Stop the frames, whatever is queued or stuck."""
        self.library.cancel_all_and_flush()
        if self.library.started:
            self._refuse_if_failed()  # it would wait for the loop
            # The kernel's sensor drivers do not wait for an exposure's end; others might.
            bound_s = CALL_S + self.longest_exposure_s
            with library_errors("stopping the camera"), bounded(bound_s):
                self.library.stop()

    def recover(self, controls: Values) -> None:
        """Do what helps a stuck ISP: stop, collect garbage, rest, start, settle."""
        self.stop()
        gc.collect()
        time.sleep(_REST_S)
        self.start(controls)
        time.sleep(_SETTLE_S)

    def set_controls(self, controls: Values) -> None:
        """Send controls with the next request that is queued."""
        with library_errors("setting controls"):
            self.library.set_controls(controls)
        self.longest_exposure_s = max(self.longest_exposure_s, _exposure_s(controls))

    @contextlib.contextmanager
    def picture(
        self, timeout_s: float, unless: threading.Event | None = None
    ) -> Iterator[Request | None]:
        """Give the next picture, which may have been taken before; None: `unless` was set.

        Raises:
            DriverError: none came in time, or the library's event loop failed.
        """
        request = self._wait(self.library.capture_request(wait=False), timeout_s, unless)
        try:
            yield request
        finally:
            if request is not None:
                self._give_back(request)

    def _wait(self, job: Any, timeout_s: float, unless: threading.Event | None) -> Request | None:
        give_up = time.monotonic() + timeout_s
        while True:
            left_s = give_up - time.monotonic()
            try:
                return self.library.wait(job, timeout=min(_SLICE_S, max(0.0, left_s)))
            except TimeoutError:
                wanted = unless is None or not unless.is_set()
                if left_s > 0 and wanted and self._failure is None:
                    continue
            self._drop(job)
            self._refuse_if_failed()
            if wanted:
                raise DriverError(
                    f"no frame came within {timeout_s:.3g} s: the camera's ISP may be stuck, or "
                    "its cable loose"
                )
            return None

    def _give_back(self, request: Request) -> None:
        try:
            request.release()
        except RuntimeError as error:  # its buffer could not be queued again, and is lost
            self._loop.failure = error
            self._refuse_if_failed()

    def _drop(self, job: Any) -> None:
        """Give a job up; a picture that came just then goes back to the camera."""
        self.library.cancel_all_and_flush()
        with contextlib.suppress(CancelledError, TimeoutError):
            self._give_back(self.library.wait(job, timeout=_SLICE_S))

    def _refuse_if_failed(self) -> None:
        if self._failure is not None:
            raise DriverError(f"the library failed, and has to be opened again: {self._failure}")

    def close(self) -> None:
        """Give the camera back."""
        self.library.cancel_all_and_flush()
        with library_errors("closing the camera"), bounded(CALL_S + self.longest_exposure_s):
            self.library.close()

    @property
    def _loop_runs(self) -> bool:
        thread: threading.Thread | None = getattr(self._loop, "thread", None)
        return thread is not None and thread.is_alive()

    @property
    def _failure(self) -> Exception | None:
        ended = None if self._loop_runs else RuntimeError("its event loop has ended")
        return self._loop.failure or ended


def _exposure_s(controls: Values) -> float:
    return controls.get("ExposureTime", 0) / 1e6


@contextlib.contextmanager
def mapped(request: Request, stream: str) -> Iterator[Any]:
    """Give a picture as an array in the camera's own memory, for as long as it is not released."""
    with MappedArray(request, stream, write=False) as picture:
        yield picture.array


@contextlib.contextmanager
def library_errors(doing: str) -> Iterator[None]:
    """Turn whatever the library raises into a DriverError that says what it was doing."""
    try:
        yield
    except (RuntimeError, OSError, ValueError, TypeError, IndexError, KeyError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # the library's own words are the last of several
            cause = cause.__cause__
        if "busy" in str(cause).lower():
            raise DeviceInUse(
                "another program holds the camera, and only one can: end it (rpicam-hello, "
                "another script or service)"
            ) from error
        raise DriverError(f"{doing} failed: {cause}") from error


def versions() -> str:
    """Return the versions of the libraries, for people."""
    try:
        picamera2 = metadata.version("picamera2")
    except metadata.PackageNotFoundError:  # not installed as a package
        picamera2 = "of unknown version"
    return f"Picamera2 {picamera2}, libcamera {libcamera.CameraManager.singleton().version}"
