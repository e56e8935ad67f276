"""A bound on calls that hold the GIL, so that nothing in Python could end them."""

import contextlib
import faulthandler
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """End this process by SIGALRM when what is within takes longer, GIL or no GIL.

    Its stacks are written to stderr before.
    """
    faulthandler.register(signal.SIGALRM, chain=True)  # the next in the chain ends the process
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
