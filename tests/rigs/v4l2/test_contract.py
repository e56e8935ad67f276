"""The drivers' one contract, on a kernel's device: its tests, with a webcam's settings."""

import pytest

from tests.drivers.test_contract import *  # noqa: F403
from tests.rigs.v4l2.webcam import Webcam


@pytest.fixture(params=["v4l2"])  # type: ignore[no-redef]
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture  # type: ignore[no-redef]
def settings(webcam: Webcam) -> dict[str, object]:
    return {"serial": webcam.serial, "width_px": 320, "height_px": 240, "fps": 30.0}
