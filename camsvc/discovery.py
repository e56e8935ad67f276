"""What is attached to this machine, by driver."""

import asyncio
import itertools
import json
from collections.abc import Sequence
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
        values = {"id": self.new_id, "driver": self.driver, **self.device.settings}
        # JSON's strings and integers are TOML's.
        return "\n".join(["[[cameras]]", *(f"{k} = {json.dumps(v)}" for k, v in values.items())])


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found, and the drivers that could not look, with the reason."""

    devices: list[FoundDevice]
    failures: dict[str, str]


async def discover(cameras: Sequence[CameraSettings], pool: StandbyPool) -> Discovery:
    """Ask every driver what is attached, each in a worker of its own and in bounded time."""
    launches = {name: Launch.of(path, PYTHON.get(name), {}) for name, path in BUILTIN.items()}
    launches |= {c.driver: launch_of(c) for c in cameras}
    answers = await asyncio.gather(*(_ask(*item, cameras, pool) for item in launches.items()))
    found = Discovery([], {})
    taken = {camera.id for camera in cameras}
    for driver, answer in zip(launches, answers, strict=True):
        if isinstance(answer, str):
            found.failures[driver] = answer
        else:
            for device in answer:
                found.devices.append(FoundDevice(driver, device, _new_id(driver, taken)))
    return found


def _new_id(driver: str, taken: set[str]) -> str:
    """Return an id that is not taken, and take it."""
    stem = "camera" if ":" in driver else driver
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
