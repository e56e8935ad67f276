"""A driver that does to the service what a broken library, or one taken over, could do.

It runs in a worker under any interpreter: only the standard library is imported. The deed is done
in `open`, the worker's first command, or in `capture`, its second.
"""

import contextlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NoReturn

import camsvc
from camsvc.drivers.base import Driver, DriverState
from camsvc.ipc import messages as m
from camsvc.ipc.codec import FROM_WORKER, HEADER_BYTES, PROTOCOL
from camsvc.ipc.messages import ImageInfo
from camsvc.ipc.shared_memory import LIVE_BYTES
from camsvc.model.values import DeviceInfo, Frame, Shot

EXIT_CODE = 7
TINY_JPEG = bytes.fromhex("ffd8 ffcb000b080001000101011100 ffda0008010100003f00 00 ffd9")
"""One pixel, whole, of a kind that nobody decodes: arithmetic, lossless."""
_SERVICES_PACKAGES = ("grpc", "pydantic", "structlog")

DEEDS: dict[str, Callable[[], object]] = {}


def deed(function: Callable[[], object]) -> Callable[[], object]:
    DEEDS[function.__name__] = function
    return function


class Misdeeds(Driver):
    """Does the deed that the settings name; where they name a file, `once`, until there is one.

    `send` is what goes down the pipe in `open`, in hexadecimal digits.
    """

    name = "misdeeds"

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        self._formats: Any = settings.get("formats", ["JPEG"])
        self._at_open = DEEDS[str(settings.get("deed", "behave"))]
        self._at_capture = DEEDS[str(settings.get("at_capture", "behave"))]
        self._sent = bytes.fromhex(str(settings.get("send", "")))
        self._once = str(settings.get("once", ""))

    def open(self) -> DeviceInfo:
        if self._sent:
            _pipe(self._sent)
            _wait_for_ever()
        self._at_open()
        visible = [name for name in _SERVICES_PACKAGES if importlib.util.find_spec(name)]
        return DeviceInfo(
            model="well-behaved",
            formats=self._formats,
            details={
                "python": sys.executable,
                "camsvc": os.path.dirname(camsvc.__file__ or ""),
                "service's packages": " ".join(visible),
            },
        )

    def capture(self, shot: Shot) -> Frame:
        if self._once and os.path.exists(self._once):
            self._at_capture = behave
        if self._once:
            open(self._once, "wb").close()
        self._at_capture()
        return Frame(time.time_ns(), encoded=TINY_JPEG, mime_type="image/jpeg")

    def close(self) -> None:
        pass


def unchecked(value: Any) -> Any:
    """Return what JSON can carry of a value, whatever it is."""
    if is_dataclass(value):
        return [unchecked(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, list | tuple):
        return [unchecked(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def body(message_id: int, message: Any) -> bytes:
    """Return a message on the wire, without its length; nothing in it is checked."""
    return json.dumps([message_id, type(message).__name__, unchecked(message)]).encode()


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(HEADER_BYTES, "little") + data


def _pipe(data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(int(sys.argv[1]), left) :]


def _send_unchecked(message_id: int, message: Any) -> None:
    _pipe(framed(body(message_id, message)))


def _image(**wrong: Any) -> Any:
    good = {"size_bytes": len(TINY_JPEG), "mime_type": "image/jpeg"}
    sizes = {"width_px": 1, "height_px": 1, "acquisition_time_ns": 1}
    return ImageInfo(**{**good, **sizes, **wrong})


def _wait_for_ever() -> NoReturn:
    while True:
        time.sleep(1000)


@deed
def behave() -> None:
    pass


@deed
def hang() -> None:
    _wait_for_ever()


@deed
def exit_() -> None:
    os._exit(EXIT_CODE)


@deed
def answer_and_exit() -> None:
    _pipe(FROM_WORKER.encode(1, m.Opened(DeviceInfo("last words", []))))
    os._exit(EXIT_CODE)


@deed
def send_what_is_no_message() -> None:
    _pipe(framed(b"hello"))
    _wait_for_ever()


@deed
def send_a_pickle() -> None:
    _pipe(framed(b"cos\nsystem\n(S'touch taken-over'\ntR."))
    _wait_for_ever()


@deed
def announce_too_long_a_message() -> None:
    _pipe(((1 << 20) + 1).to_bytes(4, "little"))
    _wait_for_ever()


@deed
def tell_of_too_much_progress() -> None:
    _send_unchecked(0, m.Progress(101))
    _wait_for_ever()


@deed
def tell_of_progress_that_is_no_number() -> None:
    _send_unchecked(0, m.Progress("x" * 2**19))  # type: ignore[arg-type]
    _wait_for_ever()


@deed
def say_that_the_device_has_changed() -> None:
    _send_unchecked(0, m.Changed(DeviceInfo("changed", [])))
    _wait_for_ever()


@deed
def describe_the_device_by_a_number() -> None:
    _send_unchecked(0, m.Changed(7))  # type: ignore[arg-type]
    _wait_for_ever()


@deed
def announce_a_live_frame_of_negative_size() -> None:
    image = m.SharedImage([1], 0, -1, "image/jpeg", 1, 1)
    _send_unchecked(0, m.SharedFrame(1, 1, [image], 0.0, 0, 0))
    _wait_for_ever()


@deed
def announce_a_picture_of_no_bytes() -> None:
    _send_unchecked(2, m.Captured(_image(size_bytes=0), 0.0, 0.0))
    _wait_for_ever()


@deed
def take_no_time_at_all() -> None:
    _send_unchecked(2, m.Captured(_image(), float("nan"), 0.0))
    _wait_for_ever()


@deed
def answer_another_command() -> None:
    _send_unchecked(1, m.Controls([]))
    _wait_for_ever()


@deed
def answer_what_nobody_asked() -> None:
    _send_unchecked(1000, m.Done())
    _wait_for_ever()


@deed
def give_a_command() -> None:
    _send_unchecked(1, m.Close())
    _wait_for_ever()


def _frame(*images: m.SharedImage, **wrong: Any) -> m.SharedFrame:
    times = {"acquisition_time_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
    counts = {"encode_s": 0.0, "skipped": 0, "bad": 0}
    return m.SharedFrame(**{"images": list(images), **times, **counts, **wrong})


def _live_image(slot: int, size_bytes: int = 0) -> m.SharedImage:
    return m.SharedImage([1], slot, size_bytes, "image/jpeg", 1, 1)


@deed
def start_twice() -> None:
    _send_unchecked(0, m.Started(PROTOCOL))
    _wait_for_ever()


@deed
def answer_twice() -> None:
    for _ in range(2):
        _send_unchecked(1, m.Opened(DeviceInfo("twice", [])))
    _wait_for_ever()


@deed
def report_under_a_commands_id() -> None:
    _send_unchecked(1, m.Progress(1))
    _wait_for_ever()


@deed
def release_a_slot() -> None:
    _send_unchecked(0, m.Release([1]))
    _wait_for_ever()


@deed
def announce_a_slot_twice() -> None:
    _send_unchecked(0, _frame(_live_image(3)))
    _send_unchecked(0, _frame(_live_image(3)))
    _wait_for_ever()


@deed
def announce_a_slot_twice_in_a_frame() -> None:
    _send_unchecked(0, _frame(_live_image(3), _live_image(3)))
    _wait_for_ever()


@deed
def announce_too_large_a_frame() -> None:
    half = LIVE_BYTES // 2 + 1
    _send_unchecked(0, _frame(_live_image(0, half), _live_image(1, half)))
    _wait_for_ever()


@deed
def announce_a_frame_of_the_future() -> None:
    _send_unchecked(0, _frame(monotonic_ns=time.monotonic_ns() + 10**12))
    _wait_for_ever()


# Sent without end; the pipe makes them wait.


def _flood(messages: Callable[[int], m.Event]) -> NoReturn:
    for number in itertools.count():
        _send_unchecked(0, messages(number))
    raise AssertionError


@deed
def flood_with_progress() -> None:
    _flood(lambda number: m.Progress(number % 101))


@deed
def flood_with_changes() -> None:
    details = {f"{number}": "x" * 1000 for number in range(60)}
    changed = m.Changed(DeviceInfo("changed", [], details=details))
    _flood(lambda _: changed)


@deed
def flood_with_losses() -> None:
    lost = m.Lost(m.Failed("DriverError", "x" * 4000))
    _flood(lambda _: lost)


@deed
def flood_with_frames() -> None:
    _flood(lambda _: _frame())


@deed
def flood_stderr() -> None:
    with open(2, "wb", buffering=0, closefd=False) as said:
        while True:
            said.write(b"\n" * 1000 + b"x" * 100_000)


@deed
def stop_in_the_middle_of_a_message() -> None:
    _pipe((1000).to_bytes(4, "little") + b"only this")
    _wait_for_ever()


@deed
def leave_a_child_with_the_pipe_and_exit() -> None:
    # The pipe and stderr are inherited, as by a helper that a vendor's library starts.
    subprocess.Popen(["sleep", "1000"], close_fds=False)
    os._exit(EXIT_CODE)


@deed
def write_without_end_to_stderr() -> None:
    with contextlib.suppress(BlockingIOError):
        os.write(2, b"x" * 2**20)
