"""Who may call: how often, how much at once, and over how many connections."""

import contextlib
import time
from collections.abc import AsyncIterator

from camsvc.grpc_server.connections import Connections
from camsvc.grpc_server.rate_limit import RateLimit
from camsvc.model.caller import Caller
from camsvc.model.places import Places


class Admission:
    """Lets calls in."""

    def __init__(self, connections: Connections, *, max_calls: int, max_calls_per_s: float) -> None:
        """Allow so many calls at once, and so many in a second from an address; 0: any number."""
        self._connections = connections
        self._rate_limit = RateLimit(max_calls_per_s)
        self._calls = Places(max_calls, "calls are under way", "max_calls")

    @contextlib.asynccontextmanager
    async def admitted(self, caller: Caller) -> AsyncIterator[None]:
        """Let a call in while the body runs.

        Raises:
            RateLimited, QueueFull: it is one too many.
        """
        self._rate_limit.take(caller.address, time.monotonic())
        self._connections.use(caller)
        async with self._calls.place(caller):
            yield
