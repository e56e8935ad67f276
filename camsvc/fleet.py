"""All cameras of the service, and the warm workers they share."""

import asyncio
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from camsvc.camera import CameraActor
from camsvc.drivers import BUILTIN
from camsvc.errors import CameraLost, CameraNotFound
from camsvc.settings import CameraSettings
from camsvc.supervisor import CameraOptions
from camsvc.worker import messages as m
from camsvc.worker.parent import Launch
from camsvc.worker.standby import StandbyPool

_log = structlog.get_logger()

DISCOVER_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device attached to this machine."""

    driver: str
    device: m.Device

    @property
    def settings_snippet(self) -> str:
        """A table for the settings file, ready to paste."""
        values = {"id": f"{self.driver}0", "driver": self.driver, **self.device.settings}
        # JSON's strings and integers are TOML's.
        return "\n".join(["[[cameras]]", *(f"{k} = {json.dumps(v)}" for k, v in values.items())])


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found, and the drivers that could not look, with the reason."""

    devices: list[FoundDevice]
    failures: dict[str, str]


class Fleet:
    """Camera id to actor. Building it touches no device and starts no process."""

    def __init__(self, cameras: tuple[CameraSettings, ...]) -> None:
        self._pool = StandbyPool()
        self._settings = cameras
        self.cameras: Mapping[str, CameraActor] = {c.id: self._actor(c) for c in cameras}

    def start(self) -> None:
        """Begin warming workers, and opening the cameras that are to be open from the start."""
        for settings in self._settings:
            self._pool.warm(_launch(settings))
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
        """Ask every driver what is attached, each in a worker of its own and in bounded time."""
        launches = {name: Launch(path) for name, path in BUILTIN.items()}
        launches |= {c.driver: _launch(c) for c in self._settings}
        answers = await asyncio.gather(*(self._discover(*item) for item in launches.items()))
        found = Discovery([], {})
        for driver, answer in zip(launches, answers, strict=True):
            if isinstance(answer, str):
                found.failures[driver] = answer
            else:
                found.devices.extend(FoundDevice(driver, device) for device in answer)
        return found

    async def close(self) -> None:
        """Close every camera and end every worker."""
        await asyncio.gather(*(actor.close() for actor in self.cameras.values()))
        await self._pool.close()

    def _actor(self, settings: CameraSettings) -> CameraActor:
        options = CameraOptions(
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
        return CameraActor(options, functools.partial(self._pool.take, _launch(settings)))

    async def _discover(self, driver: str, launch: Launch) -> list[m.Device] | str:
        configured = {c.id: c.driver_settings() for c in self._settings if c.driver == driver}
        try:
            async with asyncio.timeout(DISCOVER_TIMEOUT_S):
                worker = await self._pool.take(launch)
                try:
                    answer = await worker.call(m.Discover(configured), DISCOVER_TIMEOUT_S)
                finally:
                    worker.kill("its discovery is over")
        except TimeoutError:
            return f"it did not answer within {DISCOVER_TIMEOUT_S:g} s"
        except CameraLost as error:
            return str(error)
        assert isinstance(answer, m.Discovered)
        return answer.devices


def _launch(settings: CameraSettings) -> Launch:
    return Launch.of(settings.driver_path, settings.python, settings.env)
