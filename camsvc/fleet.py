"""All cameras of the service, by id."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from camsvc.camera.camera import Camera
from camsvc.camera.view import CameraView
from camsvc.model.discovery import Discovery
from camsvc.model.errors import CameraNotFound, some_of


class Fleet:
    """Camera id to camera, in the order of the settings."""

    def __init__(
        self, cameras: Mapping[str, Camera], discover: Callable[[], Awaitable[Discovery]]
    ) -> None:
        self._cameras = cameras
        self.discover = discover
        """Asks every driver what is attached, in bounded time."""

    @property
    def ids(self) -> list[str]:
        """The ids of all cameras."""
        return list(self._cameras)

    def camera(self, camera_id: str) -> Camera:
        """Return a camera.

        Raises:
            CameraNotFound: with some of the ids there are.
        """
        try:
            return self._cameras[camera_id]
        except KeyError:
            raise CameraNotFound(
                f"camera {camera_id!r} is not configured; configured are: {some_of(self._cameras)}",
                metadata={"camera": camera_id},
            ) from None

    def views(self) -> list[CameraView]:
        """Return all cameras as they are now."""
        return [camera.view() for camera in self._cameras.values()]

    def announce_stop(self) -> None:
        """End the viewers' streams, as the service stops."""
        for camera in self._cameras.values():
            camera.announce_stop()

    async def close(self) -> None:
        """Close every camera."""
        await asyncio.gather(*(camera.close() for camera in self._cameras.values()))
