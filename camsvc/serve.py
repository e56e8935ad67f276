"""The life of the service, read from top to bottom: start, serve, stop."""

import asyncio
import os
import signal
from collections.abc import Callable

import structlog

from camsvc import unix
from camsvc.fleet import Fleet
from camsvc.metrics import serve_metrics
from camsvc.rpc.server import Server
from camsvc.settings import Settings

_log = structlog.get_logger()

_FORCED_EXIT_CODE = 130


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, then let captures under way end within the grace.

    Raises:
        AddressInUse: the address to listen on is taken.
    """
    unix.pool_pictures()
    fleet = Fleet(settings.cameras)
    server = Server(
        fleet,
        listen=settings.service.listen,
        inline_limit_bytes=settings.service.inline_limit_bytes,
    )
    stopping = _stop_on_signals()
    await server.start()
    host = settings.service.listen.rpartition(":")[0]
    _log.info("serving", listen=f"{host}:{server.port}", cameras=list(fleet.cameras))
    if settings.service.metrics_listen:
        serve_metrics(fleet, settings.service.metrics_listen)
    fleet.start()
    await stopping.wait()
    _log.info("stopping", grace_s=settings.service.grace_s)
    await server.stop(settings.service.grace_s)
    await fleet.close()
    _log.info("stopped")


def _stop_on_signals() -> asyncio.Event:
    """Return an event that the first signal sets; a second one ends the process at once."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def on_signal(number: int, _: object) -> None:
        if stopping.is_set():
            # The workers end with the process.
            os._exit(_FORCED_EXIT_CODE)
        set_stopping: Callable[[], None] = stopping.set
        loop.call_soon_threadsafe(set_stopping)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stopping
