"""Refuses to use a client in a forked process, where gRPC and threads would hang or crash."""

from __future__ import annotations

import os


def check(process: int) -> None:
    """Check that this is still the process (by its id) in which something was opened.

    Raises:
        RuntimeError: it is a fork of it.
    """
    if os.getpid() != process:
        raise RuntimeError(
            "this process was forked while a client was open, which gRPC does not survive: start "
            'processes by "spawn", or close the client before'
        )
