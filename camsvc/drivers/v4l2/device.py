"""An open V4L2 device: what it offers, what it is set to, and its frames with the kernel's times.

Every wait is bounded but for the kernel's own: a webcam that leaves a request unanswered is waited
for 5 s by `uvcvideo`. Failures leave as `DriverError`; messages name no path.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import select
import threading
import time
from collections.abc import Iterator
from ctypes import Structure, c_int32
from dataclasses import dataclass

from camsvc.drivers.v4l2 import ioctl as api
from camsvc.model.errors import DeviceAway, DeviceInUse, DriverError, DriverFault

_BUFFERS = 4
"""One that is filled, one that is read, and two for a reader that is late by two frames."""

_SLICE_S = 0.05
"""How long a wait goes on after it was asked to end."""

_UNPLUGGED_S, _LOOK_S = 0.3, 0.02
"""Transfers fail first when a device is unplugged, and only then the kernel takes its node away."""

FORBIDDEN = (
    "the service's user may not use the camera: add it to the group that owns the device (usually "
    "`video`)"
)


@dataclass(frozen=True, slots=True)
class Mode:
    """What the device delivers. `stride` is a line's length in bytes, 0 of a compressed format."""

    fourcc: str
    width_px: int
    height_px: int
    fps: float
    stride: int

    @property
    def details(self) -> dict[str, str]:
        """For people."""
        size = f"{self.width_px}x{self.height_px}"
        return {"size": size, "fps": f"{self.fps:g}", "fourcc": self.fourcc}

    @property
    def interval_ns(self) -> int:
        """The time from one frame to the next."""
        return round(1e9 / self.fps)


@dataclass(frozen=True, slots=True)
class Offer:
    """A format and size that a device offers, with its rates, highest first; none: unknown."""

    fourcc: str
    width_px: int
    height_px: int
    rates: tuple[float, ...]

    def __str__(self) -> str:
        rates = "/".join(f"{rate:g}" for rate in self.rates)
        return f"{self.fourcc} {self.width_px}x{self.height_px}" + (f" at {rates}" if rates else "")


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame's bytes. The light was taken after `exposed_from_ns` of the monotonic clock.

    `time_ns` is the kernel's time for it, in Unix time: of its first data with a webcam, else of
    its last.
    """

    data: bytes
    time_ns: int
    exposed_from_ns: int


class Device:
    """A device's node, open. `stop_waiting` ends a wait for a frame early."""

    def __init__(self, path: str, stop_waiting: threading.Event) -> None:
        self._stop_waiting = stop_waiting
        self._maps: list[mmap.mmap] = []
        self._pace = Pace()
        with failures("open"):
            self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self.fd, select.POLLIN)

    def close(self) -> None:
        """Give the device back, whatever it says."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(self.fd, api.STREAMOFF, c_int32(api.CAPTURE))
        for map_ in self._maps:
            map_.close()
        os.close(self.fd)

    def check(self, within_s: float = 0.0) -> None:
        """Check whether the device is still there, without a request to it.

        Raises:
            DeviceAway: it was unplugged.
        """
        give_up = time.monotonic() + within_s
        while True:
            if any(events & select.POLLHUP for _, events in self._poll.poll(0)):
                raise _unplugged()
            if time.monotonic() >= give_up:
                return
            time.sleep(_LOOK_S)

    # What it offers, and what it is set to.

    def offers(self) -> list[Offer]:
        """Return the formats and sizes that the device lists; of any size between two: those."""
        return [
            Offer(api.fourcc(kind.pixelformat), *size, self._rates(kind.pixelformat, *size))
            for kind in self._listed(api.ENUM_FMT, api.FormatDescription(type=api.CAPTURE))
            for size in self._sizes(kind.pixelformat)
        ]

    def _sizes(self, code: int) -> Iterator[tuple[int, int]]:
        for size in self._listed(api.ENUM_FRAMESIZES, api.FrameSize(pixel_format=code)):
            numbers = list(size.numbers)
            if size.type == api.DISCRETE:
                yield numbers[0], numbers[1]
            else:
                yield numbers[0], numbers[3]
                yield numbers[1], numbers[4]
                return

    def _rates(self, code: int, width: int, height: int) -> tuple[float, ...]:
        request = api.FrameInterval(pixel_format=code, width=width, height=height)
        rates = set()
        for interval in self._listed(api.ENUM_FRAMEINTERVALS, request):
            numerator, denominator, *_ = interval.numbers
            if numerator:
                rates.add(round(denominator / numerator, 3))
            if interval.type != api.DISCRETE:
                break
        return tuple(sorted(rates, reverse=True))

    def _listed(self, request: int, first: Structure) -> Iterator[Structure]:
        """Yield the entries of a list that the kernel gives by index."""
        kind, start = type(first), bytes(first)
        for index in range(1000):
            entry = kind.from_buffer_copy(start)
            entry.index = index
            with failures("list its formats"):
                if not api.ask(self.fd, request, entry):
                    return
            yield entry

    def configure(self, fourcc: str, size: tuple[int, int] | None, fps: float | None) -> Mode:
        """Ask for a format, a size and a rate, and return what the device has made of it.

        `fourcc` "" leaves the format as it is.

        Raises:
            DeviceInUse: another program has it.
            DriverFault: it is a device of a kind that is not read here.
        """
        wanted = api.Format(type=api.CAPTURE)
        with failures("report its format"):
            if not api.ask(self.fd, api.G_FMT, wanted):
                raise DriverFault(
                    "the device gives its pictures in several planes, or none at all; allowed: "
                    'webcams and grabbers; a Raspberry Pi\'s cameras need driver = "picamera2"'
                )
        if fourcc:
            wanted.pix.pixelformat = api.code_of(fourcc)
        if size:
            wanted.pix.width, wanted.pix.height = size
        wanted.pix.bytesperline = wanted.pix.sizeimage = 0  # the device's to choose
        with failures("take its format"):
            api.ask(self.fd, api.S_FMT, wanted)
            got = api.Format(type=api.CAPTURE)
            api.ask(self.fd, api.G_FMT, got)
        rate = self._set_rate(fps)
        pix = got.pix
        stride = 0 if api.fourcc(pix.pixelformat) in ("MJPG", "JPEG") else pix.bytesperline
        return Mode(api.fourcc(pix.pixelformat), pix.width, pix.height, rate, stride)

    def _set_rate(self, fps: float | None) -> float:
        parameters = api.StreamParameters(type=api.CAPTURE)
        with failures("take its rate"):
            known = api.ask(self.fd, api.G_PARM, parameters)
            if known and fps:
                parameters.numerator, parameters.denominator = 1000, round(fps * 1000)
                api.ask(self.fd, api.S_PARM, parameters)
        numerator, denominator = parameters.numerator, parameters.denominator
        return float(denominator / numerator) if numerator and denominator else 25.0

    # Its frames.

    def start(self) -> None:
        """Have frames flow into buffers that the kernel shares with this process.

        Raises:
            DeviceInUse: another program has it.
        """
        request = api.RequestBuffers(count=_BUFFERS, type=api.CAPTURE, memory=api.MMAP)
        with failures("start"):
            fcntl.ioctl(self.fd, api.REQBUFS, request)
            for index in range(request.count):
                buffer = self._buffer(index)
                fcntl.ioctl(self.fd, api.QUERYBUF, buffer)
                place = buffer.location.offset
                self._maps.append(mmap.mmap(self.fd, buffer.length, offset=place))
                fcntl.ioctl(self.fd, api.QBUF, buffer)
            fcntl.ioctl(self.fd, api.STREAMON, c_int32(api.CAPTURE))

    def next(self, mode: Mode, within_s: float, *, hurried: bool = False) -> Picture | None:
        """Wait for the next frame; None: `hurried`, and asked to end.

        A frame that the kernel marks as damaged, or that is empty, is passed over.

        Raises:
            DeviceAway: the device was unplugged; or no frame came in time, and may by itself.
        """
        give_up = time.monotonic() + within_s
        damaged = 0
        while (left_s := give_up - time.monotonic()) > 0:
            events = self._poll.poll(1000 * (min(left_s, _SLICE_S) if hurried else left_s))
            if not events:
                if hurried and self._stop_waiting.is_set():
                    return None
                continue
            if events[0][1] & select.POLLHUP:
                raise _unplugged()
            try:
                picture = self._dequeue(mode)
            except DriverError:
                self.check(_UNPLUGGED_S)
                raise
            if picture is not None:
                return picture
            damaged += 1
        also = f" that is whole; {damaged} came damaged" if damaged else ""
        raise DeviceAway(f"the camera delivered no frame within {within_s:g} s{also}")

    def _dequeue(self, mode: Mode) -> Picture | None:
        buffer = self._buffer(0)
        with failures("deliver a frame"):
            fcntl.ioctl(self.fd, api.DQBUF, buffer)
            picture = None
            if buffer.bytesused and not buffer.flags & api.FLAG_ERROR:
                data = self._maps[buffer.index][: buffer.bytesused]
                picture = _picture(buffer, data, max(mode.interval_ns, self._pace.of(buffer)))
            fcntl.ioctl(self.fd, api.QBUF, buffer)
        return picture

    @staticmethod
    def _buffer(index: int) -> api.Buffer:
        return api.Buffer(index=index, type=api.CAPTURE, memory=api.MMAP)


class Pace:
    """The time from frame to frame as it is: in dim light, webcams are slower than they say."""

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None

    def of(self, buffer: api.Buffer) -> int:
        """Return it in nanoseconds; 0 where it is not known. To be called for each frame."""
        stamp_ns, number = _stamp_ns(buffer), int(buffer.sequence)
        last, self._last = self._last, (stamp_ns, number)
        if last is None or number <= last[1]:
            return 0
        return max(0, stamp_ns - last[0]) // (number - last[1])


def _stamp_ns(buffer: api.Buffer) -> int:
    return int(buffer.seconds * 1_000_000_000 + buffer.microseconds * 1000)


def _picture(buffer: api.Buffer, data: bytes, interval_ns: int) -> Picture:
    unix_ns, taken_ns = time.time_ns(), time.monotonic_ns()
    if buffer.flags & api.FLAG_CLOCK_MASK == api.FLAG_MONOTONIC:
        age_ns = max(0, taken_ns - _stamp_ns(buffer))
        unix_ns, taken_ns = unix_ns - age_ns, taken_ns - age_ns
    # A sensor exposes for up to the time from frame to frame, and then is read out for as long.
    # uvcvideo says "start of exposure", but takes the time when a frame's first data arrive.
    at_first_data = bool(buffer.flags & api.FLAG_START_OF_EXPOSURE)
    frames = 1 if at_first_data else 2
    return Picture(data, unix_ns, taken_ns - frames * interval_ns)


def _unplugged() -> DeviceAway:
    return DeviceAway("the camera was unplugged")


@contextlib.contextmanager
def failures(what: str) -> Iterator[None]:
    """Let no OSError out: its text has paths in it, and helps no reader."""
    try:
        yield
    except OSError as error:
        match error.errno:
            case errno.ENODEV | errno.ENXIO | errno.ENOENT:
                raise _unplugged() from error
            case errno.EBUSY:
                raise DeviceInUse("another program uses the camera") from error
            case errno.EACCES | errno.EPERM:
                raise DeviceAway(FORBIDDEN) from error
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        raise DriverError(f"the camera did not {what}: {error.strerror} ({name})") from error
