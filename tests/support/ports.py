"""Ports that nobody else gets: chosen by the kernel, and held by a socket that does not listen."""

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """Give a port of 127.0.0.1 for a server of this test to listen at, again and again.

    While nobody listens there, a connection is refused. The kernel gives the port to nobody
    else as long as this socket is bound to it; a server that sets SO_REUSEADDR, as they do, may
    listen there all the same.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
