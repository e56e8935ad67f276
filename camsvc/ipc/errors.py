"""An exception's way across the pipe: into `Failed`, and back."""

import contextlib
import re
import sys
import traceback
from itertools import islice

from camsvc.ipc.messages import MAX_VIOLATIONS, Failed
from camsvc.ipc.packing import ProtocolViolation
from camsvc.model import errors
from camsvc.model.redaction import redacted

_MAX_TEXT = 2000
_FRAMES_LOGGED = 4
_UNSAID = "the driver failed, and did not say why"

_NO_MEMORY = (
    "the driver needs more memory than there is, or than `worker_memory_bytes` in [service] allows"
)
"""What has taken it is not given back but by the process's end."""

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


_MISTAKES = (TypeError, AttributeError, NameError, LookupError)
"""What is wrong with a program itself; their texts speak of its insides."""

_INSIDES = (
    (re.compile(r"<[^<>]*>"), "an object"),
    (re.compile(r"(?:\w+\.)*(?:\w+(?:Error|Exception)|NoneType)\b:?\s*"), ""),
    (re.compile(r"(?<![\w.:/~-])~?/(?!dev/)(?:[\w.@+~-]+/)+[\w.@+~-]*"), "a file"),
    (re.compile(r"\b[A-Za-z]:\\\S+"), "a file"),
)
"""What a library's text may have of its insides, and what stands for it: names of classes, paths
of the machine but for those of devices."""


def failure(error: Exception) -> Failed:
    """Return an exception as it is sent to the service; one that is unknown as a `DriverError`.

    Where that is logged, the worker's stderr, it is as it was.
    """
    match error:
        case errors.InvalidRequest():
            first = islice(error.violations.items(), MAX_VIOLATIONS)
            wrong = {_text(field): _text(why) for field, why in first}
            return Failed("InvalidRequest", _text(error), wrong)
        case ProtocolViolation():
            return Failed("DriverError", f"the driver returned what cannot be sent: {error}")
        case _ if isinstance(error, MemoryError) or "Insufficient memory" in _text(error):
            return Failed("WorkerLost", _NO_MEMORY)
    for name, kind in _PLAIN.items():
        if isinstance(error, kind):
            return Failed(name, _text(error) or _UNSAID)
    frames = "".join(traceback.format_tb(error.__traceback__, limit=-_FRAMES_LOGGED))
    with contextlib.suppress(OSError):  # nobody may be reading
        sys.stderr.write(f"unforeseen: {type(error).__name__}: {_text(error)}\n{frames}")
    return Failed("DriverError", _in_words(error))


def _in_words(error: Exception) -> str:
    """Return what an unforeseen exception says, without its program's insides."""
    if isinstance(error, _MISTAKES):
        return "the driver failed by a mistake in its program, which the service's log shows"
    text = _text(error.strerror if isinstance(error, OSError) and error.strerror else error)
    for pattern, instead in _INSIDES:
        text = pattern.sub(instead, text)
    return f"the driver failed: {text.strip()}" if text.strip() else _UNSAID


def _text(text: object) -> str:
    """Return a text that can be sent, whatever a library has put into it."""
    try:
        return errors.line(str(text), _MAX_TEXT)
    except Exception:  # an exception of a library's may fail in this, too
        return ""


def error_of(failed: Failed) -> Exception:
    """Return the exception that a worker reports."""
    match failed.kind:
        case "InvalidRequest" if failed.violations:
            return errors.InvalidRequest.of(failed.violations)
        case kind:
            return _PLAIN.get(kind, errors.DriverError)(redacted(failed.message))
