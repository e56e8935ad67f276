"""What is attached to this machine, by driver."""

import asyncio
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from camsvc.drivers import BUILTIN, PYTHON
from camsvc.errors import CameraLost, DriverFault
from camsvc.settings import CameraSettings
from camsvc.worker import messages as m
from camsvc.worker.parent import Launch
from camsvc.worker.standby import StandbyPool

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device attached to this machine. `new_id` is one that no camera has."""

    driver: str
    device: m.Device
    new_id: str

    @property
    def settings_snippet(self) -> str:
        """A table for the settings file, ready to paste."""
        place = "" if self.driver in BUILTIN else "options."
        chosen = {f"{place}{key}": value for key, value in self.device.settings.items()}
        values = {"id": self.new_id, "driver": self.driver, **chosen}
        # JSON's strings and integers are TOML's.
        return "\n".join(["[[cameras]]", *(f"{k} = {json.dumps(v)}" for k, v in values.items())])


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found, and the drivers that could not look, with the reason."""

    devices: list[FoundDevice]
    failures: dict[str, str]


async def discover(cameras: Sequence[CameraSettings], pool: StandbyPool) -> Discovery:
    """Ask every driver what is attached, each in a worker of its own and in bounded time.

    A device that several drivers list is the one's that it is configured for, or else the first's.
    """
    launches = {name: Launch.of(path, PYTHON.get(name), {}) for name, path in BUILTIN.items()}
    launches |= {c.driver: launch_of(c) for c in cameras}
    answers = await asyncio.gather(*(_ask(*item, cameras, pool) for item in launches.items()))
    by_driver = dict(zip(launches, answers, strict=True))
    taken = {camera.id for camera in cameras}
    return Discovery(
        [
            FoundDevice(driver, device, _new_id(driver, taken))
            for driver, device in _once(by_driver)
        ],
        {driver: why for driver, why in by_driver.items() if isinstance(why, str)},
    )


def _once(by_driver: Mapping[str, list[m.Device] | str]) -> Iterator[tuple[str, m.Device]]:
    listed = [
        (driver, device)
        for driver, devices in by_driver.items()
        if not isinstance(devices, str)
        for device in devices
    ]
    seen = {device.address for _, device in listed if device.camera}
    for driver, device in listed:
        if device.camera or device.address not in seen:
            seen.add(device.address)
            yield driver, device


def _new_id(driver: str, taken: set[str]) -> str:
    """Return an id that is not taken, and take it."""
    stem = driver if driver in BUILTIN else "camera"
    new = next(name for n in itertools.count() if (name := f"{stem}-{n}") not in taken)
    taken.add(new)
    return new


def launch_of(settings: CameraSettings) -> Launch:
    """Return what a camera's worker is started with."""
    python = settings.python or PYTHON.get(settings.driver)
    return Launch.of(settings.driver_path, python, settings.env)


async def _ask(
    driver: str, launch: Launch, cameras: Sequence[CameraSettings], pool: StandbyPool
) -> list[m.Device] | str:
    configured = {c.id: c.driver_settings() for c in cameras if c.driver == driver}
    try:
        async with asyncio.timeout(TIMEOUT_S):
            worker = await pool.take(launch)
            try:
                answer = await worker.call(m.Discover(configured), TIMEOUT_S)
            finally:
                worker.kill("its discovery is over")
    except TimeoutError:
        return f"it did not answer within {TIMEOUT_S:g} s"
    except (CameraLost, DriverFault) as error:  # the latter where its library is missing
        return str(error)
    assert isinstance(answer, m.Discovered)
    return answer.devices
