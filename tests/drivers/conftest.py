import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest

from tests.rigs.gphoto2.rig import Rig
from tests.rigs.running import needed
from tests.support import videos as made
from tests.support.once import made_once


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """What a driver sets in its process's environment lasts as long as the test."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> made.Videos:
    return made.read(made_once(tmp_path_factory, "videos", made.make))


@pytest.fixture
def gphoto2_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Give virtual cameras that this process and its workers see."""
    folder = tmp_path / "gphoto2"
    folder.mkdir()
    with needed():
        rig = Rig(folder)
    with closing(rig):
        for name, value in rig.env.items():
            monkeypatch.setenv(name, value)
        yield rig
