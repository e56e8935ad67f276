"""An exception's way across the pipe: into `Failed`, and back."""

from camsvc.ipc.messages import Failed
from camsvc.model import errors

_DISK_RETRY_S = 1.0
"""When a client may come back whose picture could not be written."""

_PLAIN: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        errors.DeviceAway,  # before what it is a kind of
        errors.DriverError,
        errors.DriverFault,
        errors.StorageFull,
        errors.Unsupported,
        errors.WorkerLost,  # said by a worker that is of no more use
    )
}


def failure(error: Exception) -> Failed:
    """Return an exception as the service is told of it; what is unknown as a `DriverError`."""
    match error:
        case errors.InvalidRequest():
            violation = error.violations[0]
            return Failed("InvalidRequest", violation.description, violation.field)
        case errors.CameraUnavailable():
            return Failed("CameraUnavailable", str(error))
    for name, kind in _PLAIN.items():
        if isinstance(error, kind):
            return Failed(name, str(error))
    return Failed("DriverError", f"{type(error).__name__}: {error}")


def error_of(failed: Failed) -> Exception:
    """Return the exception that a worker tells of."""
    match failed.kind:
        case "InvalidRequest":
            return errors.InvalidRequest(failed.field, failed.message)
        case "CameraUnavailable":
            return errors.CameraUnavailable(failed.message, retry_after_s=_DISK_RETRY_S)
        case kind:
            return _PLAIN.get(kind, errors.DriverError)(failed.message)
