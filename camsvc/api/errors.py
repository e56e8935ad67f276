"""Errors made into the contract's statuses: here, and nowhere else."""

import math

import structlog
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from camsvc.model import errors

_log = structlog.get_logger()

_NEVER_MS = -1
_MAX_CAMERA_ID = 63

# The text goes out twice, in `grpc-message` and in the details. gRPC drops headers of more than
# 8 KiB, and proxies make "502" even of less.
_MESSAGE_BYTES = 1000
_VIOLATIONS_BYTES = 1500


def call_error(
    error: Exception, request: Message, time_remaining_s: float | None
) -> tuple[status_pb2.Status, int | None]:
    """Return the status of a call that raised `error`, and what `grpc-retry-pushback-ms` says.

    None: the trailer is not sent. Negative: never. `time_remaining_s` is what is left until the
    caller's deadline, None without one. An error that the service does not foresee is logged.
    """
    if isinstance(error, errors.CameraServiceError):
        camera = getattr(request, "camera", "")
        if 0 < len(camera) <= _MAX_CAMERA_ID:
            error.metadata.setdefault("camera", camera)
        return status_of(error), _pushback_ms(error, time_remaining_s)
    _log.error("unhandled exception in a call", request=type(request).__name__, exc_info=error)
    internal = status_pb2.Status(
        code=code_pb2.INTERNAL, message="internal error, see the service's log"
    )
    return internal, None


def status_of(error: errors.CameraServiceError) -> status_pb2.Status:
    """Return the rich status of an error: ErrorInfo always, RetryInfo and BadRequest if any."""
    info = error_details_pb2.ErrorInfo(
        reason=error.reason, domain=errors.DOMAIN, metadata=error.metadata
    )
    details: list[Message] = [info]
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_after_s * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, errors.InvalidRequest):
        details.append(_bad_request(error))
    message = _short(error.message, _MESSAGE_BYTES)
    status = status_pb2.Status(code=code_pb2.Code.Value(error.code), message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail, deterministic=True)  # the same error always reads the same
        status.details.append(packed)
    return status


def _bad_request(error: errors.InvalidRequest) -> error_details_pb2.BadRequest:
    """Return each wrong field, as far as there is room; the message has their number."""
    bad, left = error_details_pb2.BadRequest(), _VIOLATIONS_BYTES
    for field, why in error.violations.items():
        description = _short(why, _MESSAGE_BYTES)
        left -= len(field.encode()) + len(description.encode())
        if left < 0 and bad.field_violations:
            break
        bad.field_violations.add(field=field, description=description)
    return bad


def _short(text: str, most_bytes: int) -> str:
    encoded = text.encode()
    if len(encoded) <= most_bytes:
        return text
    return encoded[: most_bytes - 3].decode(errors="ignore") + "..."


def _pushback_ms(error: errors.CameraServiceError, time_remaining_s: float | None) -> int | None:
    """Return after how long a gRPC client may call again.

    Never, when the wait does not fit the call's deadline: gRPC clients would sit it out and then
    report DEADLINE_EXCEEDED, and who holds the camera would be lost.
    """
    if error.code not in ("RESOURCE_EXHAUSTED", "UNAVAILABLE"):
        return None
    wait_s, left_s = error.retry_after_s, time_remaining_s
    if wait_s is None or (left_s is not None and wait_s >= left_s):
        return _NEVER_MS
    return math.ceil(wait_s * 1000)
