"""A picture's way into its file."""

import hashlib
import os
from pathlib import Path

import pytest

from camsvc.model.errors import CameraUnavailable
from camsvc.worker.still import store

PIECES = [memoryview(b"head"), memoryview(b""), memoryview(bytes(range(256)) * 10_000)]
WHOLE = b"".join(PIECES)


def test_it_is_synced_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def fsync(fd: int) -> None:
        sizes.append(os.fstat(fd).st_size)
        really(fd)

    really = os.fsync
    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "picture"
    sha256 = store(str(path), PIECES)
    assert sizes == [len(WHOLE)]
    assert path.read_bytes() == WHOLE
    assert sha256 == hashlib.sha256(WHOLE).hexdigest()


def test_others_may_not_read_it(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    store(str(path), PIECES)
    assert path.stat().st_mode & 0o137 == 0


def test_no_file_is_written_over_or_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_text("somebody's")
    with pytest.raises(CameraUnavailable, match="EEXIST") as caught:
        store(str(path), PIECES)
    assert str(tmp_path) not in str(caught.value)
    assert path.read_text() == "somebody's"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CameraUnavailable, match="ENOENT") as caught:
        store(str(tmp_path / "gone" / "picture"), PIECES)
    assert str(tmp_path) not in str(caught.value)
