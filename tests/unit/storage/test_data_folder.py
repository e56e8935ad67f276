"""A data folder is used when nobody else can change it; else it is refused, with a command."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from camsvc.storage.data_folder import UnsafeFolder, findings, secure
from camsvc.storage.database import Database

NOBODY, STAFF = 65534, 50
PLACES = ["staging", "captures", "orphans", "lock", "journal.sqlite3", "journal.sqlite3-wal"]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give a data folder as a service leaves it."""
    folder = tmp_path / "data"
    for name in ("staging", "captures/2026-01-01", "orphans"):
        (folder / name).mkdir(parents=True)
    for name in ("lock", "journal.sqlite3", "journal.sqlite3-wal", "captures/2026-01-01/a.jpg"):
        (folder / name).write_text(name)
    folder.chmod(0o700)
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusal(folder: Path) -> str:
    """Return why a folder is refused, which an examination says beforehand, without a change."""
    before = [(p, p.lstat()) for p in sorted(folder.rglob("*"))]
    found = [finding for finding in findings(folder) if not finding.ok]
    with pytest.raises(UnsafeFolder) as caught:
        secure(folder)
    assert str(caught.value) in [f"{finding.text}: {finding.advice}" for finding in found]
    for path, info in before:
        assert (path.lstat().st_ino, path.lstat().st_size) == (info.st_ino, info.st_size)
    return str(caught.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *((0o755, 0o700), (0o777, 0o700), (0o1777, 0o700), (0o701, 0o700), (0o700, 0o700)),
        *((0o750, 0o750), (0o770, 0o750), (0o2770, 0o2750), (0o2775, 0o2700)),
    ],
    ids=oct,
)
def test_a_folder_is_shut_to_others_and_stays_readable_for_its_group_alone(
    data: Path, before: int, after: int
) -> None:
    data.chmod(before)
    (data / "captures").chmod(before)
    assert all(finding.ok for finding in findings(data))
    assert mode(data) == before, "an examination changes nothing"
    secure(data)
    assert (mode(data), mode(data / "captures")) == (after, after)
    assert findings(data) == []


def test_journal_and_lock_become_the_services_alone(data: Path) -> None:
    for name in ("lock", "journal.sqlite3", "journal.sqlite3-wal"):
        (data / name).chmod(0o664)
    secure(data)
    for name in ("lock", "journal.sqlite3", "journal.sqlite3-wal"):
        assert mode(data / name) == 0o600


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
async def test_what_is_made_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    folder, before = tmp_path / "new" / "data", os.umask(umask)
    try:
        secure(folder)
        database = Database(folder / "journal.sqlite3", before_commit=lambda: None)
        await database.write(lambda db: db.execute("INSERT INTO meta VALUES ('x', x'00')"))
        assert mode(folder) == 0o700
        files = {path.name: mode(path) for path in folder.iterdir()}
        await database.close()
    finally:
        os.umask(before)
    assert files == dict.fromkeys(
        ("journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm"), 0o600
    )


@pytest.mark.parametrize("place", [*PLACES, "captures/2026-01-02"])
@pytest.mark.parametrize("target", ["there", "missing"])
def test_a_link_in_the_place_of_a_part_is_refused(data: Path, place: str, target: str) -> None:
    other = data.with_name("victim's")
    if target == "there":
        other.mkdir()
    path = data / place
    if path.exists():
        path.rename(data.with_name("moved"))
    path.symlink_to(other)
    said = refusal(data)
    assert f"{path} is a link to '{other.parent}/victim'\"'\"'s'" in said
    assert f"rm {path}" in said


@pytest.mark.parametrize("place", ["lock", "journal.sqlite3"])
@pytest.mark.parametrize("kind", ["fifo", "folder", "second name"])
def test_what_is_no_plain_file_in_the_place_of_one_is_refused(
    data: Path, place: str, kind: str
) -> None:
    path = data / place
    match kind:
        case "fifo":
            path.unlink()
            os.mkfifo(path)
        case "folder":
            path.unlink()
            path.mkdir()
        case "second name":
            path.with_name("backup").hardlink_to(path)
    assert f"mv {path} {path}.old" in refusal(data)


@pytest.mark.parametrize("place", ["staging", "captures"])
def test_a_file_in_the_place_of_a_folder_is_refused(data: Path, place: str) -> None:
    (data / place).rename(data.with_name("moved"))
    (data / place).write_text("")
    assert f"{data / place} is not a plain folder: mv " in refusal(data)


def test_the_folder_may_be_named_by_a_link(data: Path) -> None:
    link = data.with_name("link")
    link.symlink_to(data)
    secure(link)
    assert findings(link) == []


def test_a_name_cannot_write_on_the_operators_terminal(data: Path) -> None:
    (data / "lock").unlink()
    (data / "lock").symlink_to("\x1b]0;gotcha\x07\nok")
    said = refusal(data)
    assert said.isprintable()
    assert "\\x1b]0;gotcha\\x07\\nok" in said


def test_files_that_the_file_system_gives_to_another_user_are_the_services_own(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by NFS with `root_squash`: whose a new file is counts, and not who made it."""
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY - 1)
    data.chmod(0o777)
    assert all(finding.ok for finding in findings(data))
    secure(data)
    assert mode(data) == 0o700


@as_root
@pytest.mark.parametrize("place", ["", *PLACES])
def test_what_belongs_to_another_user_is_refused(data: Path, place: str) -> None:
    os.chown(data / place, NOBODY, -1)
    said = refusal(data)
    assert f"belongs to the user nobody, and the service runs as root: chown -R root {data}" in said


@as_root
@pytest.mark.parametrize(
    ("folder_mode", "gid", "is_used"),
    [(0o2775, STAFF, True), (0o2770, STAFF, True), (0o2775, 0, False), (0o1777, STAFF, False)],
)
def test_a_folder_that_root_has_given_to_the_services_group(
    tmp_path: Path, folder_mode: int, gid: int, is_used: bool
) -> None:
    """As Kubernetes' fsGroup does; one that everybody may write in is refused."""
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 0, gid)
    data.chmod(folder_mode)
    said = as_nobody(tmp_path)
    if is_used:
        assert said == "None"
        assert mode(data) == folder_mode
    else:
        assert "others may write in data (mode " in said
        assert "chown nobody data && chmod " in said


AS_NOBODY = f"""
import os
from pathlib import Path
from camsvc.storage.data_folder import UnsafeFolder, secure
os.setgroups([{STAFF}])
os.setgid({NOBODY})
os.setuid({NOBODY})
try:
    print(secure(Path("data")))
except UnsafeFolder as error:
    print(error)
"""


def as_nobody(folder: Path) -> str:
    """Return what becomes of `data` in a folder where the service is a user of group `STAFF`."""
    # The program and the way to the folder may be root's alone: it is past both by then.
    folder.chmod(0o755)
    command = [sys.executable, "-c", AS_NOBODY]
    return subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
