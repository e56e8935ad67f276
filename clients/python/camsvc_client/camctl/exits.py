"""Exit codes, by kind of error, so that scripts know what to do next."""

from camsvc_client import errors

OTHER = 1
USAGE = 2
INCOMPLETE = 12
INTERRUPTED = 130

TABLE: dict[type[errors.CamsvcError], tuple[int, str]] = {
    errors.InvalidRequest: (USAGE, "a wrong argument or value"),
    errors.RequestIdReused: (USAGE, "a wrong argument or value"),
    errors.CameraNotFound: (3, "no such camera or capture"),
    errors.CaptureNotFound: (3, "no such camera or capture"),
    errors.CameraBusy: (4, "busy: try again"),
    errors.QueueFull: (4, "busy: try again"),
    errors.RateLimited: (4, "busy: try again"),
    errors.CameraUnavailable: (5, "the camera is away or recovering: try again"),
    errors.CameraFaulted: (6, "the camera needs a person"),
    errors.Unsupported: (7, "this camera or service cannot do that"),
    errors.Unimplemented: (7, "this camera or service cannot do that"),
    errors.StorageFull: (8, "the service's disk is full, or keeps nothing"),
    errors.StorageUnavailable: (8, "the service's disk is full, or keeps nothing"),
    errors.DeadlineExceeded: (9, "not in time"),
    errors.CaptureTimeout: (9, "not in time"),
    errors.ServiceUnreachable: (10, "the service cannot be reached, or does not answer"),
    errors.Unauthenticated: (11, "not allowed"),
    errors.PermissionDenied: (11, "not allowed"),
    errors.ImageDamaged: (INCOMPLETE, "what was received is damaged or incomplete"),
    errors.EventsMissed: (INCOMPLETE, "what was received is damaged or incomplete"),
}


def code_of(error: errors.CamsvcError) -> int:
    """Return the exit code that goes with an error."""
    return TABLE.get(type(error), (OTHER, ""))[0]


def help_text() -> str:
    """Return all exit codes, for the help."""
    meanings = dict(sorted(TABLE.values()))
    listed = {0: "done", OTHER: "anything else", **meanings, INTERRUPTED: "Ctrl-C"}
    lines = [f"{code} {meaning}" for code, meaning in sorted(listed.items())]
    return "Exit codes: " + "; ".join(lines) + "."
