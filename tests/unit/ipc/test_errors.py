"""An error of a driver is the same one on the other side of the pipe."""

import pytest

from camsvc.ipc.errors import error_of, failure
from camsvc.model.errors import (
    DeviceAway,
    DriverError,
    DriverFault,
    InvalidRequest,
    StorageFull,
    StorageUnavailable,
    Unsupported,
    WorkerLost,
)

MISTAKE = "the driver failed by a mistake in its program, which the service's log shows"


class InUse(DeviceAway):
    """A driver's own kind of an error."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DriverError("broken off"), DriverError),
        (DeviceAway("gone"), DeviceAway),
        (InUse("taken"), DeviceAway),
        (DriverFault("broken"), DriverFault),
        (Unsupported("no"), Unsupported),
        (WorkerLost("spent"), WorkerLost),
        (StorageFull("full"), StorageFull),
        (StorageUnavailable("the disk fails"), StorageUnavailable),
        (InvalidRequest("controls", "too much"), InvalidRequest),
        (InvalidRequest.of({"controls[a]": "too much", "controls[b]": "no"}), InvalidRequest),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_its_kind_and_its_words_cross_the_pipe(error: Exception, expected: type) -> None:
    back = error_of(failure(error))
    assert type(back) is expected
    assert str(back) == str(error)


class Speechless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ZeroDivisionError("division by zero"), "the driver failed: division by zero"),
        (
            RuntimeError("USBError: [Errno 19]\nno device"),
            "the driver failed: [Errno 19] no device",
        ),
        (OSError(19, "No such device", "/home/me/x"), "the driver failed: No such device"),
        (
            ValueError("in /usr/lib/a/b.so of /dev/video0"),
            "the driver failed: in a file of /dev/video0",
        ),
        (ValueError("at rtsp://host/a/b"), "the driver failed: at rtsp://host/a/b"),
        (ValueError("<a.B object at 0x7f> is odd"), "the driver failed: an object is odd"),
        (ValueError("\udcff\0\x1b[31mred"), "the driver failed: [31mred"),
        (ValueError(), "the driver failed, and did not say why"),
        (Speechless(), "the driver failed, and did not say why"),
        (DriverError(""), "the driver failed, and did not say why"),
        (TypeError("'NoneType' object is not iterable"), MISTAKE),
        (AttributeError("'Foo' object has no attribute 'x'"), MISTAKE),
        (KeyError("gain"), MISTAKE),
        (NameError("name 'x' is not defined"), MISTAKE),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_nobody_foresaw_is_a_drivers_error_in_plain_words(
    error: Exception, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log has the rest."""
    back = error_of(failure(error))
    assert type(back) is DriverError
    assert str(back) == text
    if not isinstance(error, DriverError):
        assert f"unforeseen: {type(error).__name__}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        # OpenCV's words.
        RuntimeError("alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes"),
    ],
    ids=["Python", "OpenCV"],
)
def test_a_worker_that_has_no_memory_left_is_lost(error: Exception) -> None:
    back = error_of(failure(error))
    assert type(back) is WorkerLost
    assert "memory" in str(back)


def test_a_text_without_end_is_cut() -> None:
    many = {f"controls[{number}]": "x" * 100_000 for number in range(1000)}
    for error in (ValueError("x" * 10**6), DriverError("x" * 10**6), InvalidRequest.of(many)):
        failed = failure(error)
        assert len(failed.message) <= 2100
        assert sum(len(why) for why in failed.violations.values()) <= 64 * 2000
