"""An archive to test with."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from camsvc.storage.archive import Archive
from tests.support.keeping import RETRY_S, Disk, Folder


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Give the disk of the archives that are opened from here on."""
    return Disk(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "data")


@pytest.fixture
async def archive(disk: Disk, folder: Folder) -> AsyncIterator[Archive]:
    archive = await Archive.open(folder.path, retry_s=RETRY_S)
    yield archive
    await archive.close()
