"""A picture's way into its file."""

import hashlib
import os
import threading
from pathlib import Path

import pytest

from camsvc.model.errors import StorageUnavailable
from camsvc.worker.still import discarding, new_file, store

PIECES = [memoryview(b"head"), memoryview(b""), memoryview(bytes(range(256)) * 10_000)]
WHOLE = b"".join(PIECES)
NO_SUCH_STACK_BYTES = 1 << 47
"""More than a process can address: no thread starts with it."""


def test_it_is_synced_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def fsync(fd: int) -> None:
        sizes.append(os.fstat(fd).st_size)
        really(fd)

    really = os.fsync
    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "picture"
    with discarding(new_file(str(path))) as file:
        sha256 = store(file, PIECES)
    assert sizes == [len(WHOLE)]
    assert path.read_bytes() == WHOLE
    assert sha256 == hashlib.sha256(WHOLE).hexdigest()


def test_it_needs_no_second_thread(tmp_path: Path) -> None:
    """A container may have none left: then it takes longer, and the picture is not lost."""
    path = tmp_path / "picture"
    before = threading.stack_size(NO_SUCH_STACK_BYTES)
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threading.Thread().start()
        with discarding(new_file(str(path))) as file:
            sha256 = store(file, PIECES)
    finally:
        threading.stack_size(before)
    assert path.read_bytes() == WHOLE
    assert sha256 == hashlib.sha256(WHOLE).hexdigest()


def test_others_may_not_read_it(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    with discarding(new_file(str(path))) as file:
        store(file, PIECES)
    assert path.stat().st_mode & 0o137 == 0


def test_no_file_is_written_over_or_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_text("somebody's")
    with pytest.raises(StorageUnavailable, match="EEXIST") as caught:
        new_file(str(path))
    assert str(tmp_path) not in str(caught.value)
    assert path.read_text() == "somebody's"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone" / "picture")
    with pytest.raises(StorageUnavailable, match="ENOENT") as caught:
        new_file(gone)
    assert str(tmp_path) not in str(caught.value)


def test_nothing_is_left_of_a_picture_that_comes_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    with pytest.raises(ValueError, match="no picture"), discarding(new_file(str(path))):
        assert path.exists(), "it is there before the shutter"
        raise ValueError("no picture")
    assert not path.exists()
