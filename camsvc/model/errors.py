"""Every error of camsvc, each with its reason, its gRPC code and when to try again.

Three families:

- `CameraServiceError`: what a client sees. Only `api.errors` makes a status of it.
- `DriverError`, `DriverFault`: what a driver raises. They cross the pipe and end in the camera.
- `WorkerLost`, `WorkerTimeout`: what the camera sees of a worker that died or does not answer.

Only the standard library is imported here: workers load this file too.
"""

from collections.abc import Collection, Mapping
from itertools import islice
from typing import ClassVar, Self

from camsvc.model.redaction import redacted

DOMAIN = "camsvc"

_SHOWN = 80
_LARGE = 10**30


def some_of(names: Collection[str], most: int = 8) -> str:
    """Return a list as a message has it: the first `most`, and how many more there are."""
    shown = ", ".join(islice(names, most)) or "none"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def short(value: str) -> str:
    """Return a text of a client's as a message has it."""
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "...")


def sendable(text: str, most: int) -> str:
    """Return a text that can be sent, of at most so many characters, without secrets."""
    return redacted(text[: 4 * most])[:most].encode(errors="replace").decode()


def line(text: str, most: int) -> str:
    """Return a text in one line, as a message has it, of at most so many, without secrets."""
    cut = redacted(text[: 4 * most])[: 2 * most]
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else " " for c in cut)
    return " ".join(cut.split())[:most]


def in_words(value: object) -> str:
    """Return a value of a wrong type as a message has it, which no class's name helps to read."""
    match value:
        case None:
            words = "nothing"
        case bool():
            words = str(value).lower()
        case int():
            words = str(int(value)) if abs(value) < _LARGE else "a very large number"
        case float():
            words = repr(float(value))
        case str():
            words = f"the text {short(line(value, 2 * _SHOWN))}"
        case bytes() | bytearray() | memoryview():
            words = "bytes"
        case list() | tuple() | set() | frozenset():
            words = "a list"
        case dict():
            words = "a table"
        case _:
            words = "something of another kind"
    return words


class CameraServiceError(Exception):
    """A refusal or failure as a client sees it.

    `message` names the subject, the value and what is allowed. `retry_after_s` is None where
    coming back does not help.
    """

    reason: ClassVar[str]
    code: ClassVar[str]
    """The name of the gRPC status code."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.metadata = dict(metadata or {})


class CameraBusy(CameraServiceError):
    """Another capture holds the camera. Come back after `retry_after_s`."""

    reason, code = "CAMERA_BUSY", "RESOURCE_EXHAUSTED"


class QueueFull(CameraServiceError):
    """Too many wait for the camera or view it. Come back after `retry_after_s`."""

    reason, code = "QUEUE_FULL", "RESOURCE_EXHAUSTED"


class RateLimited(CameraServiceError):
    """The caller itself makes too many calls in a second. Come back after `retry_after_s`."""

    reason, code = "RATE_LIMITED", "RESOURCE_EXHAUSTED"


class StorageFull(CameraServiceError):
    """No room for another picture. Retrying does not help."""

    reason, code = "STORAGE_FULL", "RESOURCE_EXHAUSTED"


class StorageUnavailable(CameraServiceError):
    """The disk keeps no picture now: read-only, locked, broken, or no descriptors are left.

    Retrying does not help; once the cause has ended, it works again by itself.
    """

    reason, code = "STORAGE_UNAVAILABLE", "FAILED_PRECONDITION"


class CameraNotFound(CameraServiceError):
    """No camera with this id is configured. Retrying does not help."""

    reason, code = "CAMERA_NOT_FOUND", "NOT_FOUND"


class CaptureNotFound(CameraServiceError):
    """No capture with this id is kept. Retrying does not help."""

    reason, code = "CAPTURE_NOT_FOUND", "NOT_FOUND"


class CameraUnavailable(CameraServiceError):
    """The camera is recovering, unplugged, or used its attempts up. Come back."""

    reason, code = "CAMERA_UNAVAILABLE", "UNAVAILABLE"


class CameraFaulted(CameraServiceError):
    """The camera needs an operator; the message says what to do. Retrying does not help."""

    reason, code = "CAMERA_FAULTED", "FAILED_PRECONDITION"


class CaptureTimeout(CameraServiceError):
    """The camera's own worst case passed, and the client had set no deadline."""

    reason, code = "CAPTURE_TIMEOUT", "DEADLINE_EXCEEDED"


class Unsupported(CameraServiceError):
    """This camera lacks what was asked for: a control, a format, a delivery."""

    reason, code = "UNSUPPORTED", "FAILED_PRECONDITION"


class InvalidRequest(CameraServiceError):
    """Fields of the request have values that are never allowed; `violations` says why, by field."""

    reason, code = "INVALID_REQUEST", "INVALID_ARGUMENT"

    def __init__(
        self,
        field: str,
        description: str,
        *,
        others: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Refuse a field, and `others` with it."""
        self.violations = {field: description, **(others or {})}
        text = "; ".join(f"{field}: {why}" for field, why in self.violations.items())
        count = len(self.violations)
        super().__init__(
            text if count == 1 else f"{count} fields are wrong: {text}", metadata=metadata
        )

    @classmethod
    def of(cls, violations: Mapping[str, str], metadata: Mapping[str, str] | None = None) -> Self:
        """Return the error of one or more wrong fields."""
        (field, description), *others = violations.items()
        return cls(field, description, others=dict(others), metadata=metadata)


class RequestIdReused(CameraServiceError):
    """The request id belongs to another request. Retrying does not help."""

    reason, code = "REQUEST_ID_REUSED", "INVALID_ARGUMENT"


class Unauthenticated(CameraServiceError):
    """No or wrong credentials."""

    reason, code = "UNAUTHENTICATED", "UNAUTHENTICATED"


class PermissionDenied(CameraServiceError):
    """The credentials do not allow this call."""

    reason, code = "PERMISSION_DENIED", "PERMISSION_DENIED"


class CameraLost(Exception):
    """One operation on a camera failed in a way that recovery may fix."""


class DriverError(CameraLost):
    """A driver's temporary failure: recovery takes over."""


class DeviceAway(DriverError):
    """The device is unplugged, silent or another program's: nothing to fix, only to wait for.

    It is tried once a second, in the same worker.
    """


class DeviceInUse(DeviceAway):
    """Another program has the device. In a worker that had it before, it may be that worker.

    What a library still holds is released only by the end of its process.
    """


class DriverFault(Exception):
    """A driver's permanent failure: the message says what an operator must do."""


class WorkerLost(CameraLost):
    """The worker process ended; the message says how."""


class WorkerTimeout(CameraLost):
    """The worker did not answer a call in time: its driver hangs."""
