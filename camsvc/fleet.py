"""All cameras of the service, and the warm workers they share."""

import asyncio
import functools
from collections.abc import Mapping

from camsvc.admin import discovery
from camsvc.admin.discovery import Discovery
from camsvc.camera.camera import CameraActor
from camsvc.camera.ports import CameraOptions, CaptureArchive
from camsvc.config.settings import CameraSettings
from camsvc.model.errors import CameraNotFound
from camsvc.worker_pool.launch import launch_of
from camsvc.worker_pool.pool import WorkerPool


class Fleet:
    """Camera id to actor. Building it touches no device and starts no process."""

    def __init__(self, cameras: tuple[CameraSettings, ...], archive: CaptureArchive) -> None:
        self._pool = WorkerPool()
        self._settings = cameras
        self.cameras: Mapping[str, CameraActor] = {
            c.id: CameraActor(
                options_of(c), functools.partial(self._pool.take, launch_of(c)), archive
            )
            for c in cameras
        }

    def start(self) -> None:
        """Begin warming workers, and opening the cameras that are to be open from the start."""
        for settings in self._settings:
            self._pool.warm(launch_of(settings))
            if settings.open_at_start:
                self.cameras[settings.id].supervisor.open()

    def camera(self, camera_id: str) -> CameraActor:
        """Return a camera.

        Raises:
            CameraNotFound: with the ids there are.
        """
        try:
            return self.cameras[camera_id]
        except KeyError:
            known = ", ".join(self.cameras) or "none"
            raise CameraNotFound(
                f"camera {camera_id!r} is not configured; configured are: {known}",
                metadata={"camera": camera_id},
            ) from None

    async def discover(self) -> Discovery:
        """Find out what is attached; see `discovery`."""
        return await discovery.discover(self._settings, self._pool)

    async def close(self) -> None:
        """Close every camera and end every worker."""
        await asyncio.gather(*(actor.close() for actor in self.cameras.values()))
        await self._pool.close()


def options_of(settings: CameraSettings) -> CameraOptions:
    """Return a camera's settings as its actor takes them."""
    return CameraOptions(
        id=settings.id,
        driver=settings.driver,
        driver_settings=settings.driver_settings(),
        controls=settings.controls,
        attempts=settings.attempts,
        attempt_timeout_s=settings.attempt_timeout_s,
        open_timeout_s=settings.open_timeout_s,
        queue_limit=settings.queue_limit,
        idle_close_s=settings.idle_close_s,
        stall_timeout_s=settings.stall_timeout_s,
        max_viewers=settings.max_viewers,
    )
