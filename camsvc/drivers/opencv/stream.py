"""A live stream from the network, read all the time by a thread of its own.

What is not read gathers: in the camera, on the way, in the system's buffers; and nobody can tell
afterwards how old it is. So everything is read as it comes, and the newest picture wins. A picture
is as old as the arrival of its first byte. Most are not even looked at while nobody asks for one.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from camsvc.drivers.base import Driver
from camsvc.drivers.opencv.memory import Memory
from camsvc.drivers.opencv.pace import Pace
from camsvc.drivers.opencv.repeats import Repeats
from camsvc.model import clock
from camsvc.model.errors import DeviceAway, DriverError
from camsvc.model.values import DeviceInfo, Frame, Shot

_FIRST_PICTURE_S = 1.0
"""How long opening waits for one, to know its size: it may be a while until it comes."""

_ASKED_FOR_S = 1.0
"""After somebody has asked for a picture, each one that comes is looked at for so long."""

_MOST_DAMAGED = 5
"""Pictures in a row that a still passes over."""

_SLICE_S = 0.05
_CLOCKS_NS = 1_000_000
"""Times by the two clocks may differ by so much."""

_END_S = 1.0


class Incoming(Protocol):
    """Pictures as they come. The thread alone uses them; `stop` is for others."""

    details: dict[str, str]
    size: tuple[int, int]
    """Of the last picture that was taken, in pixels; zeros while unknown."""

    def wait(self, limit_s: float) -> int:
        """Wait until the next picture is there; return its first byte's arrival, monotonic, in ns.

        Raises:
            TimeoutError: nothing has come for so long.
            DeviceAway, DriverError, DriverFault: no more will come.
        """

    def take(self) -> Frame:
        """Return the picture that is there. Its time is not set.

        Raises:
            DriverError: it is damaged.
        """

    def stop(self) -> None:
        """Let a wait end soon."""

    def close(self) -> None:
        """Release everything."""


class StreamSource(Driver):
    """A stream that is live. A still is the first picture that began to arrive after the call."""

    name = "opencv"

    def __init__(self, settings: Mapping[str, Any], memory: Memory, incoming: Incoming) -> None:
        self._incoming = incoming
        self._memory = memory
        self._pace = Pace(settings["read_timeout_s"])
        self._repeats = Repeats(settings["repeat_limit"])
        self._arrived = threading.Condition()
        """Held by whoever uses what both threads do: the pace, the newest picture, the failure."""
        self._newest: tuple[int, Frame | DriverError] | None = None
        """When it began to arrive, monotonic, in ns; and what it is."""
        self._shown_ns = 0
        """The last one that live view was given, also where it was a still's."""
        self._unsettled: int = settings["warmup_frames"]
        """So many are still dropped."""
        self._asked_at = time.monotonic()
        self._failure: Exception | None = None
        self._ended = False
        self._reader = threading.Thread(target=self._read_on, name="stream", daemon=True)
        self._info: DeviceInfo | None = None

    def open(self) -> DeviceInfo:
        """Begin reading; report what is known, which is more once there is a picture.

        Raises: as `read`.
        """
        self._reader.start()
        with self._arrived:
            self._arrived.wait_for(
                lambda: self._newest is not None or self._failure is not None, _FIRST_PICTURE_S
            )
            self._raise_if_lost()
            self._info = self._described()
        return self._info

    def capture(self, shot: Shot) -> Frame:
        """Return the first whole picture that begins to arrive from now on.

        Raises: as `read`.
        """
        begun_ns, picture = self._next(time.monotonic_ns() + _CLOCKS_NS)
        for _ in range(_MOST_DAMAGED - 1):
            if isinstance(picture, Frame):
                break
            begun_ns, picture = self._next(begun_ns)
        return self._checked(begun_ns, picture)

    def read(self) -> Frame | None:
        """Return the newest picture that was not shown yet.

        Raises:
            DeviceAway: the stream ended, or none has come for too long.
            DriverError: the picture is damaged, or the last one over and over.
            DriverFault: what ended the stream needs a person.
        """
        if not self._await(self._shown_ns, self.interrupt):
            return None
        self._shown_ns, picture = self._next(self._shown_ns)
        return self._checked(self._shown_ns, picture)

    def health_check(self) -> DeviceInfo | None:
        """Notice a stream that ended, and what has changed since."""
        with self._arrived:
            self._raise_if_lost()
            known, found = self._info, self._described()
        if known is None or replace(found, expected_capture_s=known.expected_capture_s) == known:
            return None
        self._info = found
        return found

    def close(self) -> None:
        self._ended = True
        if self._reader.ident is None:  # it never began
            self._incoming.close()
            return
        self._incoming.stop()
        self._reader.join(_END_S)  # OpenCV's wait cannot be broken off: its thread ends by itself

    def _next(self, since_ns: int) -> tuple[int, Frame | DriverError]:
        """Return the newest picture that began to arrive after a moment, and when it did."""
        self._await(since_ns)
        with self._arrived:
            assert self._newest is not None  # noqa: S101 - `_await` has seen it
            return self._newest

    def _await(self, since_ns: int, interrupt: threading.Event | None = None) -> bool:
        """Wait for such a picture; return False where `interrupt` came first."""
        with self._arrived:
            while True:
                self._asked_at = time.monotonic()
                if self._newest is not None and self._newest[0] > since_ns:
                    return True
                if interrupt is not None and interrupt.is_set():
                    return False
                self._raise_if_lost()
                self._arrived.wait(_SLICE_S)

    def _checked(self, begun_ns: int, picture: Frame | DriverError) -> Frame:
        """Return a picture with its time, unless it is damaged."""
        if isinstance(picture, DriverError):
            raise picture
        self._memory.note_working()
        now = clock.now()
        return replace(picture, acquisition_time_ns=now.wall_ns - now.monotonic_ns + begun_ns)

    def _raise_if_lost(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._pace.silent_s > self._pace.limit_s:
            raise self._pace.silence()

    def _described(self) -> DeviceInfo:
        width, height = self._incoming.size
        details = dict(self._incoming.details)
        if width and height:
            details["size"] = f"{width}x{height}"
        return DeviceInfo(
            model="video url",
            formats=["JPEG", "PNG"],
            sizes=[(width, height)] if width and height else [],
            capture_during_live_view=True,  # a still is one of the frames
            expected_capture_s=0.05 + self._pace.interval_s,
            details=details,
            warnings=self._repeats.warnings,
            max_silence_s=self._pace.limit_s,
        )

    # On the thread.

    def _read_on(self) -> None:
        failure: Exception = DeviceAway("the camera's stream was closed")
        try:
            while not self._ended:
                begun_ns = self._incoming.wait(self._pace.limit_s)
                is_asked_for = time.monotonic() - self._asked_at < _ASKED_FOR_S
                is_settled = self._unsettled == 0
                self._unsettled -= not is_settled
                picture = self._taken() if is_asked_for and is_settled else None
                with self._arrived:
                    self._pace.picture_came()
                    if picture is not None:
                        self._newest = begun_ns, picture
                        self._arrived.notify_all()
        except TimeoutError:
            failure = self._pace.silence()
        except Exception as error:  # a library may raise anything; whoever asks next gets it
            failure = error
        finally:
            with self._arrived:
                self._failure = failure
                self._arrived.notify_all()
            self._incoming.close()

    def _taken(self) -> Frame | DriverError:
        try:
            picture = self._incoming.take()
        except DriverError as damaged:
            return damaged
        data = picture.encoded if picture.pixels is None else picture.pixels
        too_many = None if data is None else self._repeats.note(data)
        return too_many or picture
