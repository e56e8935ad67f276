"""Pictures are where their records say, whole, and nothing outside the folder is touched."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from camsvc.model.records import CaptureRecord, StoredImage
from camsvc.storage.files import FileStore, staged_name
from camsvc.system import posix_access
from camsvc.system.folder import Folder

NEW_YEAR_NS = 1_767_225_600 * 10**9
"""2026-01-01 in UTC."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "var" / "data"


@pytest.fixture
def store(folder: Path) -> Iterator[FileStore]:
    store = FileStore(folder)
    store.prepare()
    yield store
    store.close()


def record(
    capture_id: str, time_ns: int = NEW_YEAR_NS, mime_type: str = "image/jpeg"
) -> CaptureRecord:
    """Return a capture whose picture's bytes are its id."""
    image = StoredImage("", mime_type, 1, 1, len(capture_id), "")
    return CaptureRecord(capture_id, "cam", time_ns, image=image)


def stage(store: FileStore, capture_id: str, attempt: int = 1) -> str:
    name = staged_name(capture_id, attempt)
    with store.staging.create(name) as file:
        file.write(capture_id.encode())
    return name


def keep(store: FileStore, capture_id: str, time_ns: int = NEW_YEAR_NS) -> str:
    """Keep a picture whose bytes are its capture id."""
    return store.keep(record(capture_id, time_ns), 0, stage(store, capture_id))


def content(store: FileStore, relative: str) -> str:
    with store.open(relative) as file:
        return file.read().decode()


def test_the_folder_is_made_for_the_service_alone(
    folder: Path,
) -> None:
    umask = os.umask(0o022)
    store = FileStore(folder)
    try:
        store.prepare()
    finally:
        os.umask(umask)
    assert folder.stat().st_mode & 0o777 == 0o700
    for made in (folder / "staging", folder / "captures"):
        assert made.stat().st_mode & 0o777 == 0o750
    store.prepare()  # once more is fine
    store.close()


def test_a_file_in_the_place_of_the_folder_is_an_error(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("")
    with pytest.raises(OSError, match="data"):
        FileStore(folder).prepare()


@pytest.mark.parametrize("name", ["staging", "captures"])
def test_a_link_in_the_place_of_a_folder(folder: Path, tmp_path: Path, name: str) -> None:
    """It is refused at the start, and removed where it has come meanwhile."""
    (tmp_path / "outside").mkdir()
    folder.mkdir(parents=True)
    (folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(NotADirectoryError, match=f"'{name}' in it is a link"):
        FileStore(folder).prepare()
    (folder / name).unlink()
    store = FileStore(folder)
    store.prepare()
    (folder / name).rename(folder / "moved")
    (folder / name).symlink_to(tmp_path / "outside")
    store.prepare()
    keep(store, "a")
    store.close()
    assert not (folder / name).is_symlink()
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize("size", [0, 5])
def test_a_file_that_is_not_what_was_written_is_not_kept(store: FileStore, size: int) -> None:
    with store.staging.create("a.1") as file:
        file.write(bytes(size))
    with pytest.raises(OSError, match="is gone, or was changed"):
        store.keep(record("a"), 0, "a.1")
    assert store.files() == {}


def test_a_note_is_read_from_files_alone(store: FileStore, folder: Path) -> None:
    """It waits for no FIFO, and reads nobody else's file."""
    store.note("a.1", "text")
    store.note("a.1", "another")
    (folder / "b.json").write_text("secret")
    (folder / "staging" / "b.1.json").symlink_to(folder / "b.json")
    os.mkfifo(folder / "staging" / "c.1.json")
    (folder / "staging" / "d.1.json").mkdir()
    assert store.notes() == {"a.1": "another"}
    assert store.sweep() == 3
    assert store.notes() == {"a.1": "another"}


def test_a_kept_picture_is_where_the_path_says(store: FileStore, folder: Path) -> None:
    relative = keep(store, "a")
    assert relative == "captures/2026-01-01/a.jpg"
    assert (folder / relative).read_text() == content(store, relative) == "a"
    assert not list((folder / "staging").iterdir())


def test_a_picture_is_kept_under_the_date_in_utc_of_its_capture(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert keep(store, "a", NEW_YEAR_NS - 1).startswith("captures/2025-12-31/")
    assert keep(store, "b", NEW_YEAR_NS).startswith("captures/2026-01-01/")


@pytest.mark.parametrize(
    ("mime_type", "name"),
    [
        ("image/jpeg", "a.jpg"),
        ("image/png", "a.png"),
        ("image/tiff", "a.tif"),
        ("image/gif", "a.gif"),
        ("image/of-no-known-kind", "a.bin"),
        ("", "a.bin"),
    ],
)
def test_the_file_is_named_by_its_kind(store: FileStore, mime_type: str, name: str) -> None:
    kept = store.keep(record("a", mime_type=mime_type), 0, stage(store, "a"))
    assert kept == f"captures/2026-01-01/{name}"


def test_each_attempt_writes_a_file_of_its_own() -> None:
    assert staged_name("a", 1) != staged_name("a", 2)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the names of the folders that are synced."""
    names: list[str] = []
    real = Folder.sync

    def sync(folder: Folder) -> None:
        real(folder)
        names.append(Path(os.readlink(f"/proc/self/fd/{folder.fd}")).name)

    monkeypatch.setattr(Folder, "sync", sync)
    return names


def test_the_folders_of_what_was_kept_are_synced_once(store: FileStore, synced: list[str]) -> None:
    for capture_id in "abc":
        keep(store, capture_id)
    store.sync()
    assert sorted(synced) == ["2026-01-01", "captures"], "a new dated folder is a new name itself"
    keep(store, "d")
    store.sync()
    store.sync()
    assert sorted(synced) == ["2026-01-01", "2026-01-01", "captures"]


def test_a_sync_that_failed_is_made_up_for(
    store: FileStore, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Folder) -> None:
        raise OSError("no sync")

    keep(store, "a")
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "sync", fail)
        with pytest.raises(OSError, match="no sync"):
            store.sync()
    store.sync()
    assert sorted(synced) == ["2026-01-01", "captures"]


def test_a_folder_that_has_gone_needs_no_sync(store: FileStore) -> None:
    store.delete(keep(store, "a"))
    store.sync()


@pytest.mark.parametrize(
    "relative",
    ["", ".", "..", "/etc/passwd", "../outside", "captures/../../outside", "captures/../x", "a\0b"],
)
def test_no_path_leads_out_of_the_folder(store: FileStore, relative: str) -> None:
    for use in (store.open, store.delete, store.set_aside):
        with pytest.raises(ValueError, match=r"does not lead|null"):
            use(relative)


def test_no_link_leads_out_of_the_folder(store: FileStore, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.jpg").touch()
    (folder / "captures" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(FileNotFoundError):
        store.open("captures/link/a.jpg")
    store.delete("captures/link/a.jpg")
    assert (tmp_path / "outside" / "a.jpg").exists()


def test_no_capture_id_leads_out_of_the_folder() -> None:
    with pytest.raises(ValueError, match="is not a file"):
        staged_name("../../a", 1)


def test_a_deleted_picture_is_gone_and_its_folder_with_the_last_one(
    store: FileStore, folder: Path
) -> None:
    first, last = keep(store, "a"), keep(store, "b")
    store.delete(first)
    assert store.files() == {last: "b"}
    store.delete(last)
    store.delete(last)  # missing is fine
    assert not list((folder / "captures").iterdir())
    assert keep(store, "c") == "captures/2026-01-01/c.jpg"


def test_pictures_are_kept_while_others_of_the_day_are_deleted(store: FileStore) -> None:
    """The last picture's end takes the folder into which the next is on its way."""
    errors: list[BaseException] = []

    def come_and_go(name: str) -> None:
        try:
            for _ in range(300):
                store.delete(keep(store, name))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=come_and_go, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert store.files() == {}


def test_what_is_half_written_is_swept_and_what_is_kept_is_not(
    store: FileStore, folder: Path
) -> None:
    kept = keep(store, "a")
    for attempt in range(3):
        stage(store, "b", attempt)
    (folder / "staging" / "folder").mkdir()
    assert store.sweep() == 4
    assert store.sweep() == 0
    assert store.files() == {kept: "a"}


def test_all_pictures_are_found(store: FileStore, folder: Path) -> None:
    kept = {
        keep(store, f"{number:02}", NEW_YEAR_NS + number * 3600 * 10**9): f"{number:02}"
        for number in range(50)
    }
    (folder / "captures" / "read-me.txt").touch()
    (folder / "captures" / "2026-01-01" / "folder").mkdir()
    assert store.files() == kept
    (folder / "captures" / "2026-01-01" / "00.xmp").touch()
    assert store.files() == {**kept, "captures/2026-01-01/00.xmp": "00"}


def test_a_picture_without_a_record_is_set_aside_beside_others_of_its_name(
    store: FileStore, folder: Path
) -> None:
    aside = [store.set_aside(keep(store, "a", NEW_YEAR_NS + day)) for day in (0, 1, 2)]
    assert aside == ["orphans/a.jpg", "orphans/a-1.jpg", "orphans/a-2.jpg"]
    assert [(folder / relative).read_text() for relative in aside] == ["a", "a", "a"]
    assert not list((folder / "captures").iterdir())
    store.sync()


def test_the_free_space_is_what_any_user_may_take(store: FileStore, folder: Path) -> None:
    system = os.statvfs(folder)
    assert store.free_bytes() == pytest.approx(system.f_bavail * system.f_frsize, rel=0.05)
    assert store.free_bytes() <= shutil.disk_usage(folder).total


HOLDS = """
import sys
from camsvc.system import posix, posix_access
print(posix_access.lock_file(sys.argv[1]) is not None, flush=True)
sys.stdin.read()
"""


def test_a_lock_is_held_by_one_process_and_given_back_by_its_end(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert int(path.read_text()) == holder.pid
        assert posix_access.lock_file(path) is None
        assert int(path.read_text()) == holder.pid
        holder.kill()
    fd = posix_access.lock_file(path)
    assert fd is not None
    assert int(path.read_text()) == os.getpid()
    os.close(fd)


@pytest.mark.parametrize("kind", ["link", "second name", "fifo", "dangling link"])
def test_a_lock_that_leads_elsewhere_changes_nothing_there(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "lock", tmp_path / "other"
    other.write_text("precious")
    match kind:
        case "link":
            path.symlink_to(other)
        case "second name":
            path.hardlink_to(other)
        case "fifo":
            os.mkfifo(path)
        case "dangling link":
            path.symlink_to(tmp_path / "new")
    with pytest.raises(OSError, match=r"symbolic links|plain file"):
        posix_access.lock_file(path)
    assert other.read_text() == "precious"
    assert not (tmp_path / "new").exists()


def test_a_lock_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        posix_access.lock_file(tmp_path / "nowhere" / "lock")
