"""The life of the service, read from top to bottom: start, serve, stop."""

import asyncio
import functools
import os
import signal
from collections.abc import Callable

import structlog

from camsvc.admin.discovery import discover
from camsvc.api.service import CameraService
from camsvc.camera.camera import Camera
from camsvc.camera.observer import CameraObserver
from camsvc.config.settings import Settings
from camsvc.fleet import Fleet
from camsvc.grpc_server.health import Health
from camsvc.grpc_server.server import Server
from camsvc.metrics import serve_metrics
from camsvc.storage.archive import Archive
from camsvc.storage.retention import Policy, Retention
from camsvc.system import posix
from camsvc.worker_pool.pool import WorkerPool

_log = structlog.get_logger()

_FORCED_EXIT_CODE = 130


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, then let captures under way end within the grace.

    Raises:
        ArchiveError: the data folder is of no use.
        AddressInUse: the address to listen on is taken.
    """
    posix.pool_pictures()
    archive = await Archive.open(settings.service.data_dir, settings.service.min_free_bytes)
    try:
        await _serve(settings, archive)
    finally:
        await archive.close()


async def _serve(settings: Settings, archive: Archive) -> None:
    pool = WorkerPool()
    health = Health(camera.id for camera in settings.cameras)
    fleet = _fleet(settings, archive, pool, health)
    service = CameraService(fleet, archive, settings.service.inline_limit_bytes)
    server = Server(service, health, settings.service.listen)
    stopping = _stop_on_signals()
    await server.start()
    host = settings.service.listen.rpartition(":")[0]
    _log.info("serving", listen=f"{host}:{server.port}", cameras=fleet.ids)
    if settings.service.metrics_listen:
        serve_metrics(fleet, archive, settings.service.metrics_listen)
    for camera in settings.cameras:
        pool.warm(camera.launch)
        if camera.open_at_start:
            fleet.camera(camera.id).open()
    retention = asyncio.create_task(
        Retention(archive, Policy(**settings.retention.model_dump())).run(), name="retention"
    )
    await stopping.wait()
    _log.info("stopping", grace_s=settings.service.grace_s)
    await server.stop(settings.service.grace_s)
    await fleet.close()
    await pool.close()
    retention.cancel()
    await asyncio.wait([retention])
    _log.info("stopped")


def _fleet(
    settings: Settings, archive: Archive, pool: WorkerPool, observer: CameraObserver
) -> Fleet:
    """Return the cameras of the settings. No device is touched, and no process started."""
    cameras = {
        camera.id: Camera(
            camera.camera_options, functools.partial(pool.take, camera.launch), archive, [observer]
        )
        for camera in settings.cameras
    }
    return Fleet(cameras, functools.partial(discover, settings.cameras, pool))


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
