"""What is attached to this machine, by driver."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence

from camsvc.config.cameras import CameraSettings, PluginSettings
from camsvc.ipc import messages as m
from camsvc.model.discovery import Discovery, FoundDevice
from camsvc.model.errors import CameraLost, DriverFault
from camsvc.model.options import Launch, Sandbox
from camsvc.model.registry import BUILTIN
from camsvc.model.values import Device
from camsvc.worker_pool.pool import WorkerPool

TIMEOUT_S = 10.0

_Question = tuple[str, Launch]
"""A driver's name, and the worker that is asked."""


async def discover(
    cameras: Sequence[CameraSettings], sandbox: Sandbox, pool: WorkerPool
) -> Discovery:
    """Ask every driver what is attached, each in a worker of its own and in bounded time.

    A device that several drivers list belongs to the one that it is configured for, or else to the
    first.
    """
    configured: dict[_Question, dict[str, dict[str, object]]] = {
        (name, Launch.of(known.driver, known.python, {}, sandbox)): {}
        for name, known in BUILTIN.items()
        if all(camera.driver != name for camera in cameras)
    }
    for camera in cameras:
        question = camera.driver, camera.launch(sandbox)
        configured.setdefault(question, {})[camera.id] = camera.driver_settings()
    questions = sorted(configured, key=_rank)
    answers = await asyncio.gather(
        *(_ask(launch, configured[driver, launch], pool) for driver, launch in questions)
    )
    found = Discovery([], {})
    listed: list[tuple[str, Device]] = []
    for (driver, _), answer in zip(questions, answers, strict=True):
        if isinstance(answer, str):
            found.failures[driver] = answer
        else:
            listed += [(driver, device) for device in answer]
    taken = {camera.id for camera in cameras}
    models = {c.driver: c.options_model for c in cameras if isinstance(c, PluginSettings)}
    for driver, device in _once(listed):
        camera_id = device.camera or _new_id(driver, taken)
        found.devices.append(FoundDevice(driver, device, camera_id, models.get(driver)))
    return found


def _rank(question: _Question) -> int:
    """Return a driver's place in the order of `BUILTIN`; plug-ins come last."""
    names = list(BUILTIN)
    return names.index(question[0]) if question[0] in names else len(names)


def _once(listed: Sequence[tuple[str, Device]]) -> Iterator[tuple[str, Device]]:
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


async def _ask(
    launch: Launch, configured: dict[str, dict[str, object]], pool: WorkerPool
) -> list[Device] | str:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            worker = await pool.take(launch)
            try:
                return (await worker.call(m.Discover(configured), TIMEOUT_S)).devices
            finally:
                worker.kill("its discovery is over")
    except TimeoutError:
        return f"it did not answer within {TIMEOUT_S:g} s"
    except (CameraLost, DriverFault) as error:  # the latter where its library is missing
        return str(error)
