"""Services with virtual cameras on the real libgphoto2."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartService
from tests.rigs.gphoto2.rig import Rig
from tests.rigs.running import needed
from tests.support.scenes import camera
from tests.support.service import Service

QUICK: dict[str, Any] = {"attempt_timeout_s": 2.0, "file_timeout_s": 1.0, "open_timeout_s": 15.0}
"""A camera that is given up soon."""

StartCamera = Callable[..., Awaitable[Service]]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    folder = tmp_path / "rig"
    folder.mkdir()
    with needed():
        rig = Rig(folder)
    with closing(rig):
        yield rig


@pytest.fixture
def start_camera(start_service: StartService, rig: Rig) -> StartCamera:
    """Give a function that starts a service with the rig's camera `dslr` beside `sim0`."""

    async def start(**keys: Any) -> Service:
        return await start_service(dslr(rig, **keys) + camera())

    return start


def dslr(rig: Rig, camera_id: str = "dslr", **keys: Any) -> str:
    """Return the settings of one of the rig's cameras; a key of None is left out."""
    env = {**rig.env, "RIG_EXCLUSIVE": "1"}
    known = {**QUICK, **rig.settings, "env": env, **keys}
    given = {key: value for key, value in known.items() if value is not None}
    return camera(camera_id, driver="gphoto2", **given)
