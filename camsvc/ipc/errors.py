"""An exception's way across the pipe: into `Failed`, and back."""

from camsvc.ipc.messages import Failed
from camsvc.ipc.validation import ProtocolViolation
from camsvc.model import errors

_MAX_TEXT = 4096

_PLAIN: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        errors.DeviceInUse,  # before what it is a kind of, as the next one
        errors.DeviceAway,
        errors.DriverError,
        errors.DriverFault,
        errors.StorageFull,
        errors.StorageUnavailable,
        errors.Unsupported,
        errors.WorkerLost,  # sent by a worker that has to be replaced
    )
}


def failure(error: Exception) -> Failed:
    """Return an exception as it is sent to the service; one that is unknown as a `DriverError`."""
    match error:
        case errors.InvalidRequest():
            wrong = {_text(field): _text(why) for field, why in error.violations.items()}
            return Failed("InvalidRequest", _text(error), wrong)
        case ProtocolViolation():
            return Failed("DriverError", f"the driver returned what cannot be sent: {error}")
    for name, kind in _PLAIN.items():
        if isinstance(error, kind):
            return Failed(name, _text(error))
    return Failed("DriverError", _text(f"{type(error).__name__}: {error}"))


def _text(error: object) -> str:
    """Return a text that can be sent, whatever a library has put into it."""
    return str(error)[:_MAX_TEXT].encode(errors="replace").decode()


def error_of(failed: Failed) -> Exception:
    """Return the exception that a worker reports."""
    match failed.kind:
        case "InvalidRequest" if failed.violations:
            return errors.InvalidRequest.of(failed.violations)
        case kind:
            return _PLAIN.get(kind, errors.DriverError)(failed.message)
