import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest

from tests.rigs.gphoto2.rig import Rig
from tests.rigs.running import needed
from tests.support import videos as made


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """What a driver sets in its process's environment lasts as long as the test."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> made.Videos:
    folder: Path = tmp_path_factory.mktemp("videos")
    return made.make(folder)


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
