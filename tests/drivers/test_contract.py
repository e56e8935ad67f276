"""What every driver must satisfy, whatever its camera.

A new driver adds one line to `SETTINGS`, or to `ON_A_RIG` where a rig has its devices; the rig's
tests then import these.
"""

import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import cv2
import numpy as np
import pytest

from camsvc.config.cameras import driver_model
from camsvc.drivers.base import Driver, DriverState
from camsvc.drivers.controls import checked
from camsvc.images import codec
from camsvc.ipc import messages as m
from camsvc.model.options import Launch
from camsvc.model.registry import BUILTIN
from camsvc.model.values import Control, ControlValue, Device, DeviceInfo, Shot
from camsvc.worker_pool.process import WorkerProcess
from tests.support import remote_driver
from tests.support.settings import resolved
from tests.support.stills import files_of

SETTINGS: dict[str, Callable[[pytest.FixtureRequest], dict[str, object]]] = {
    "opencv": lambda request: {
        "source": str(request.getfixturevalue("videos").h264.path),
        "loop": True,
    },
    "gphoto2": lambda request: dict(request.getfixturevalue("gphoto2_rig").settings),
    "picamera2": lambda _: {"source": "left"},
    "simulated": lambda _: {},
}

ON_A_RIG = {"v4l2"}

NOWHERE = {"opencv": {"source": "/nowhere"}, "v4l2": {"device": "/nowhere"}}
"""What selects a device, of the drivers that cannot do without."""

FORMATS = {"JPEG", "PNG", "RAW"}
CALL_S = 60.0
ANY_SIZE = 1 << 30
TYPES = {"bool": bool, "int": int, "float": float, "string": str}


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.rig] if BUILTIN[name].python else [])
        for name in SETTINGS
    ]
)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def launch(name: str, request: pytest.FixtureRequest) -> Launch:
    if name == "picamera2":
        launch: Launch = request.getfixturevalue("pi_cameras")[0].launch(BUILTIN[name].driver)
        return launch
    return Launch(BUILTIN[name].driver)


@pytest.fixture
def driver_class(name: str, launch: Launch) -> type[Driver]:
    if BUILTIN[name].python:
        return remote_driver.driver_class(launch)
    module, _, attribute = BUILTIN[name].driver.partition(":")
    found: type[Driver] = getattr(importlib.import_module(module), attribute)
    return found


@pytest.fixture
def settings(name: str, request: pytest.FixtureRequest) -> dict[str, object]:
    return resolved(name, **SETTINGS[name](request))


@pytest.fixture
def opened(
    driver_class: type[Driver], settings: dict[str, object]
) -> Iterator[tuple[Driver, DeviceInfo]]:
    driver = driver_class(settings, DriverState())
    yield driver, driver.open()
    driver.close()


def test_every_driver_is_tested_here() -> None:
    assert set(SETTINGS) | ON_A_RIG == set(BUILTIN)


def test_a_driver_is_found_by_its_name(driver_class: type[Driver], name: str) -> None:
    assert issubclass(driver_class, Driver)
    assert driver_class.name == name


def test_making_a_driver_touches_nothing(driver_class: type[Driver], name: str) -> None:
    """The device is looked for when it is opened, where errors have a way to the client."""
    driver_class(resolved(name, **NOWHERE.get(name, {})), DriverState())


def test_open_says_what_the_camera_is(opened: tuple[Driver, DeviceInfo]) -> None:
    _, info = opened
    assert info.model
    assert info.formats
    assert set(info.formats) <= FORMATS
    assert 0 < info.expected_capture_s < 60
    assert all(isinstance(text, str) for pair in info.details.items() for text in pair)


def test_looking_after_a_device_that_is_well_leaves_it_so(
    opened: tuple[Driver, DeviceInfo],
) -> None:
    driver, info = opened
    changed = driver.health_check()
    assert changed is None or changed.model == info.model
    assert driver.capture(Shot()).acquisition_time_ns


def test_a_still_is_taken_after_it_was_asked_for(opened: tuple[Driver, DeviceInfo]) -> None:
    driver, _ = opened
    times = []
    for _ in range(3):
        asked_ns = time.time_ns()
        frame = driver.capture(Shot())
        assert asked_ns <= frame.acquisition_time_ns <= time.time_ns()
        times.append(frame.acquisition_time_ns)
    assert sorted(set(times)) == times


def test_a_still_is_pixels_or_a_file(opened: tuple[Driver, DeviceInfo]) -> None:
    frame = opened[0].capture(Shot())
    assert (frame.pixels is None) != (frame.encoded is None)
    if frame.pixels is not None:
        assert frame.pixels.ndim == 3
        assert frame.pixels.shape[2] == 3
        assert frame.pixels.dtype == np.uint8
    else:
        assert frame.mime_type
    assert frame.exposure_us is None or frame.exposure_us > 0


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_a_still_can_be_finished(opened: tuple[Driver, DeviceInfo], image_format: str) -> None:
    shot = Shot(format=image_format, max_width_px=200)
    frame = opened[0].capture(shot)
    data, output = codec.finish(codec.Picture(frame), shot)
    assert output.mime_type == f"image/{image_format.lower()}"
    again = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert again is not None
    assert again.shape == (output.height_px, output.width_px, 3)
    assert output.width_px <= 200


def test_controls_are_well_formed(opened: tuple[Driver, DeviceInfo]) -> None:
    controls = opened[0].controls()
    assert len({control.name for control in controls}) == len(controls)
    for control in controls:
        assert control.type in TYPES
        assert control.access in ("read", "write", "read_write")
        assert (control.minimum is None) == (control.maximum is None)
        assert control.increment is None or control.increment > 0
        if control.value is not None:
            assert type(control.value) is TYPES[control.type]
            # A value that is out of its own range would be refused.
            readable = Control(control.name, control.type, None, control.minimum, control.maximum)
            assert checked([readable], {control.name: control.value})


def _extremes(control: Control) -> list[ControlValue]:
    kind = TYPES[control.type]
    limits = [limit for limit in (control.minimum, control.maximum) if limit is not None]
    return [*control.allowed, *map(kind, limits)]


def test_controls_read_back_as_set(opened: tuple[Driver, DeviceInfo]) -> None:
    driver, _ = opened
    for control in (c for c in driver.controls() if c.access == "read_write"):
        values = [*_extremes(control), control.value]
        for value in (v for v in values if v is not None):
            driver.set_controls({control.name: value})
            assert _values(driver)[control.name] == value


def _values(driver: Driver) -> Mapping[str, ControlValue | None]:
    return {control.name: control.value for control in driver.controls()}


def test_a_new_driver_opens_the_device_again(
    driver_class: type[Driver], settings: dict[str, object]
) -> None:
    for _ in range(2):
        driver = driver_class(settings, DriverState())
        driver.open()
        driver.capture(Shot())
        driver.recover()
        driver.close()


def test_discovery_opens_nothing_and_lists_devices(driver_class: type[Driver], name: str) -> None:
    """What it says of them selects a device in the settings."""
    for device in driver_class.discover():
        assert isinstance(device, Device)
        assert device.address
        assert device.name
        assert set(device.settings) <= set(driver_model(name).selecting())
        assert resolved(name, **device.settings).items() >= device.settings.items()


def test_a_diagnosis_finds_the_device_well(
    driver_class: type[Driver], settings: dict[str, object]
) -> None:
    assert all(finding.ok for finding in driver_class.diagnose(settings))


# In its worker.


@pytest.fixture
async def worker(launch: Launch, settings: dict[str, object]) -> AsyncIterator[WorkerProcess]:
    """Give the driver's worker, its device open."""
    async with asyncio.timeout(CALL_S):
        worker = await WorkerProcess.start(launch)
    await worker.call(m.Open(settings, {}, b""), CALL_S)
    yield worker
    worker.kill("the test is over")
    await worker.wait_ended()


async def capture(worker: WorkerProcess, shot: Shot | None = None) -> m.Captured:
    return await worker.call(m.Capture(shot or Shot()), CALL_S)


async def values_in(worker: WorkerProcess) -> dict[str, ControlValue | None]:
    answer = await worker.call(m.ListControls(), CALL_S)
    return {control.name: control.value for control in answer.controls}


async def another_value(worker: WorkerProcess) -> dict[str, ControlValue]:
    """Return a control with a value that it does not have at present."""
    answer = await worker.call(m.ListControls(), CALL_S)
    for control in (c for c in answer.controls if c.access == "read_write"):
        for value in _extremes(control):
            if value != control.value:
                return {control.name: value}
    pytest.skip("it has no control that can be set")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
async def test_a_still_is_whole(worker: WorkerProcess, image_format: str) -> None:
    answer = await capture(worker, Shot(format=image_format))
    data, *_ = files_of(worker, answer)
    assert answer.image.mime_type == f"image/{image_format.lower()}"
    again = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert again is not None
    assert again.shape == (answer.image.height_px, answer.image.width_px, 3)


async def test_a_still_that_was_prepared_is_taken_after_it_was_asked_for(
    worker: WorkerProcess,
) -> None:
    for _ in range(2):
        await worker.call(m.Prepare(Shot()), CALL_S)
        asked_ns = time.time_ns()
        answer = await capture(worker)
        assert asked_ns <= answer.image.acquisition_time_ns <= time.time_ns()
        assert files_of(worker, answer)


async def test_a_prepared_stills_controls_hold_for_it_alone(worker: WorkerProcess) -> None:
    wanted = await another_value(worker)
    (control,) = wanted
    before = (await values_in(worker))[control]
    shot = Shot(controls=wanted)
    await worker.call(m.Prepare(shot), CALL_S)
    answer = await capture(worker, shot)
    assert answer.image.controls[control] == wanted[control]
    assert (await values_in(worker))[control] == before


async def test_what_was_prepared_in_vain_is_undone(worker: WorkerProcess) -> None:
    wanted = await another_value(worker)
    (control,) = wanted
    before = (await values_in(worker))[control]
    prepare = m.Prepare(Shot(controls=wanted))
    await worker.call(prepare, CALL_S)
    assert (await values_in(worker))[control] == before
    await worker.call(prepare, CALL_S)
    answer = await capture(worker)
    assert answer.image.controls[control] == before
    await worker.call(prepare, CALL_S)
    await worker.call(m.Close(), CALL_S)
