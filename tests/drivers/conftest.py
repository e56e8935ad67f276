from pathlib import Path

import pytest

from tests.support import videos as made


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> made.Videos:
    folder: Path = tmp_path_factory.mktemp("videos")
    return made.make(folder)
