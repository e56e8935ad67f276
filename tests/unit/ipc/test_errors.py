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


def test_what_a_library_raises_is_a_drivers_error_with_its_name() -> None:
    back = error_of(failure(ZeroDivisionError("by nothing")))
    assert type(back) is DriverError
    assert str(back) == "ZeroDivisionError: by nothing"
