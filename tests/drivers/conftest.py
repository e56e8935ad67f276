import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.rigs.gphoto2.rig import Rig
from tests.rigs.running import needed
from tests.support import videos as made


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> made.Videos:
    folder: Path = tmp_path_factory.mktemp("videos")
    return made.make(folder)


@pytest.fixture
def gphoto2_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Give virtual cameras that this process and its workers see."""
    folder = tmp_path / "gphoto2"
    folder.mkdir()
    for name in ("HOME", "IOLIBS", "CAMLIBS", "XDG_CONFIG_HOME"):  # the driver sets its process's
        monkeypatch.setenv(name, os.environ.get(name, ""))
    with needed():
        rig = Rig(folder)
    with closing(rig):
        for name, value in rig.env.items():
            monkeypatch.setenv(name, value)
        yield rig
