"""A name in a folder leads to what the folder has, and nowhere else."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from camsvc.system.folder import Folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def link(path: Path) -> None:
    path.with_name("target").write_text("target")
    path.symlink_to(path.with_name("target"))


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere")


def link_to_a_folder(path: Path) -> None:
    path.symlink_to("/etc")


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # in the present folder: the path of a socket has to be short


def folder(path: Path) -> None:
    path.mkdir()
    (path / "outside").symlink_to("/etc")
    (path / "within").touch()


ODD: list[Callable[[Path], None]] = [
    link,
    link_to_nothing,
    link_to_a_folder,
    os.mkfifo,
    bound_socket,
    folder,
]


@pytest.mark.parametrize("make", ODD)
def test_what_is_no_file_is_not_opened_and_goes_by_itself(
    place: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    make(place / "odd")
    held = Folder.at(place)
    with pytest.raises(FileNotFoundError):
        held.open("odd")  # which waits for nobody
    with pytest.raises(FileExistsError):
        held.create("odd")
    assert held.size("odd") is None
    assert "odd" not in held.files()
    held.remove("odd")
    held.remove("odd")  # missing is fine
    assert held.names() in ([], ["target"])
    assert os.path.isdir("/etc")


def test_a_folder_behind_a_link_is_not_there(place: Path) -> None:
    (place / "real").mkdir()
    (place / "link").symlink_to("real")
    held = Folder.at(place)
    assert held.folders() == ["real"]
    with pytest.raises(FileNotFoundError):
        held.folder("link")


def test_it_stays_the_folder_that_it_was(place: Path, tmp_path: Path) -> None:
    """Wherever it is moved to, and whatever comes into its place."""
    held = Folder.at(place)
    place.rename(tmp_path / "moved")
    place.symlink_to("/etc")
    with held.create("new") as file:
        assert held.leads_to("new", file)
    assert (tmp_path / "moved" / "new").exists()
    assert not held.is_at(place)


def test_threads_that_list_it_at_once_see_all_of_it(place: Path) -> None:
    for number in range(3000):
        (place / str(number)).touch()
    held, seen = Folder.at(place), list[int]()

    def count() -> None:
        seen.extend(len(held.names()) for _ in range(10))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [3000] * 40
