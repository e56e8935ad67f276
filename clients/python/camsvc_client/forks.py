"""What gRPC and threads do not survive is told, instead of a hang or a crash in the new process."""

from __future__ import annotations

import os


def check(process: int) -> None:
    """Look whether this is still the process (by its number) in which something was opened.

    Raises:
        RuntimeError: it is a fork of it.
    """
    if os.getpid() != process:
        raise RuntimeError(
            "this process was forked while a client was open, which gRPC does not survive: start "
            'processes by "spawn", or close the client before'
        )
