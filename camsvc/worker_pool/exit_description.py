"""How a worker's process ended, in words for the log and for clients."""

from camsvc.system import posix


def describe_exit(code: int | None) -> str:
    """Return the text for an exit code; None: it has not ended yet."""
    if code is None:
        return "the worker closed its pipe"
    name = posix.signal_name(code)
    if name == "SIGALRM":  # a driver's own, around calls that nothing else can end
        return "the worker ended itself (SIGALRM): the camera's library hung"
    if name is not None:
        return f"the worker was killed by {name}"
    return f"the worker ended with exit code {code}"
