"""The life of the service, read from top to bottom: start, serve, stop."""

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from camsvc.admin.discovery import discover
from camsvc.api.service import CameraService
from camsvc.camera.camera import Camera
from camsvc.config.settings import Settings
from camsvc.fleet import Fleet
from camsvc.grpc_server.health import Health
from camsvc.grpc_server.server import Server
from camsvc.logs import LogWriter
from camsvc.metrics import serve_metrics
from camsvc.storage.archive import Archive
from camsvc.storage.retention import Retention
from camsvc.storage.trusted_clock import TrustedClock
from camsvc.system import posix
from camsvc.tasks import keep_running
from camsvc.worker_pool.pool import WorkerPool
from camsvc.worker_pool.thumbnailer import Thumbnailer, thumbnails_launch

_log = structlog.get_logger()

_FORCED_EXIT_CODE = 130
_MEMORY_S = 30.0
"""How often what is free is given back, as after many clients have left at once."""

_STOP_S = 20.0
"""How long a stop may take beyond the grace. systemd waits 90 s in all."""


async def serve(settings: Settings, log: LogWriter) -> None:
    """Serve until SIGTERM or Ctrl-C, then let captures under way end within the grace.

    Raises:
        ArchiveError: the data folder cannot be used.
        AddressInUse: the address to listen on is taken.
    """
    gc.freeze()  # what was imported stays: to look at it takes 15 ms of the event loop each time
    posix.pool_pictures()
    posix.raise_limits()
    archive = await Archive.open(
        settings.service.data_dir,
        reserve_bytes=settings.service.min_free_bytes,
        min_age_s=settings.retention.min_age_s,
    )
    try:
        await Service(settings, archive, log).run()
    finally:
        await archive.close()


class Service:
    """The cameras, their server, and the tasks in the background. Building it starts nothing."""

    def __init__(self, settings: Settings, archive: Archive, log: LogWriter) -> None:
        self._settings = settings.service
        self._log = log
        self._archive = archive
        self._cameras = settings.cameras
        self._pool = WorkerPool()
        self._sandbox = settings.service.sandboxed
        self._health = health = Health(camera.id for camera in settings.cameras)
        cameras = {
            camera.id: Camera(
                camera.camera_options,
                partial(self._pool.take, camera.launch(self._sandbox)),
                archive.captures,
                [health],
            )
            for camera in settings.cameras
        }
        self._fleet = Fleet(cameras, partial(discover, settings.cameras, self._sandbox, self._pool))
        self._thumbnailer = Thumbnailer(thumbnails_launch(self._sandbox))
        service = CameraService(
            self._fleet,
            archive,
            self._thumbnailer,
            inline_limit_bytes=settings.service.inline_limit_bytes,
            max_downloads=settings.service.max_downloads,
        )
        self._server = Server(service, health, settings.service, len(cameras))
        clock = TrustedClock(archive.known_ages.time_ns)
        retention = Retention(archive, settings.retention, clock)
        self._background: dict[str, Callable[[], Awaitable[None]]] = {
            "clock": clock.watch,
            "retention": retention.run,
            "disk": self._watch_disk,
            "memory": self._give_back_memory,
            "connections": self._server.watch_connections,
        }
        if listen := settings.service.metrics_listen:
            metrics = partial(serve_metrics, self._fleet, archive, log, listen)
            self._background["metrics"] = metrics

    async def run(self) -> None:
        """Serve until a signal asks to stop.

        Raises:
            AddressInUse: the address to listen on is taken.
        """
        stopping = _stop_on_signals()
        await self._startup()
        async with asyncio.TaskGroup() as background:
            tasks = [
                background.create_task(keep_running(name, work), name=name)
                for name, work in self._background.items()
            ]
            await stopping.wait()
            await self._shutdown()
            for task in tasks:
                task.cancel()
        _log.info("stopped")

    async def _give_back_memory(self) -> None:
        while True:
            await asyncio.sleep(_MEMORY_S)
            posix.give_back_memory()

    async def _watch_disk(self) -> None:
        async for available in self._archive.disk.changes():
            self._health.set_storage(available)

    async def _startup(self) -> None:
        await self._server.start()
        host = self._settings.listen.rpartition(":")[0]
        _log.info("serving", listen=f"{host}:{self._server.port}", cameras=self._fleet.ids)
        for camera in self._cameras:
            self._pool.warm(camera.launch(self._sandbox))
            if camera.open_at_start:
                self._fleet.camera(camera.id).open()

    async def _shutdown(self) -> None:
        grace_s = self._settings.grace_s
        _log.info("stopping", grace_s=grace_s)
        asyncio.get_running_loop().call_later(grace_s + _STOP_S, self._give_up)
        await self._server.stop(grace_s)
        await self._fleet.close()
        await self._thumbnailer.close()
        await self._pool.close()

    def _give_up(self) -> None:
        """End without what hangs, such as a disk that does not answer."""
        _log.error("stopped by force: something hangs")
        self._log.finish()
        os._exit(_FORCED_EXIT_CODE)


def _stop_on_signals() -> asyncio.Event:
    """Return an event that the first signal sets; a second one ends the process at once."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def on_signal(number: int, _: object) -> None:
        if stopping.is_set():
            # The workers end with the process.
            os._exit(_FORCED_EXIT_CODE)
        loop.call_soon_threadsafe(stopping.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stopping
