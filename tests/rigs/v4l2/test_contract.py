"""The drivers' one contract, on a kernel's device: its tests, with a webcam's settings."""

import pytest

from camsvc.drivers.base import Driver
from camsvc.model.values import DeviceInfo
from tests.drivers import test_contract
from tests.drivers.test_contract import *  # noqa: F403
from tests.rigs.v4l2.webcam import Webcam
from tests.support.settings import resolved

pytestmark = pytest.mark.rig


@pytest.fixture(params=["v4l2"])  # type: ignore[no-redef]
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture  # type: ignore[no-redef]
def settings(webcam: Webcam) -> dict[str, object]:
    return resolved("v4l2", serial=webcam.serial, width_px=320, height_px=240, fps=30.0)


def test_controls_read_back_as_set(  # type: ignore[no-redef]
    opened: tuple[Driver, DeviceInfo],
) -> None:
    """What the camera governs itself is not set: the kernel refuses that."""
    opened[0].set_controls({"exposure_mode": "manual", "focus_mode": "manual"})
    test_contract.test_controls_read_back_as_set(opened)
