"""The driver `opencv` on a URL, in the test's own process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from camsvc.drivers.base import DriverState
from camsvc.drivers.opencv.camera import OpenCVCamera
from camsvc.model.values import DeviceInfo
from tests.support.settings import resolved


@contextmanager
def opened(
    url: str,
    state: DriverState | None = None,
    interrupt: threading.Event | None = None,
    **settings: object,
) -> Iterator[tuple[OpenCVCamera, DeviceInfo]]:
    """Give a driver that is open for the block, and what it says of its camera."""
    driver = OpenCVCamera(resolved("opencv", source=url, **settings), state or DriverState())
    driver.interrupt = interrupt or driver.interrupt
    try:
        yield driver, driver.open()
    finally:
        driver.close()
