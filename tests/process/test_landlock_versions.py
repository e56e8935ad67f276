"""The sandbox on kernels that can do less: each version's part of it is in force, for any user."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from camsvc.system import landlock

ROOT = Path(__file__).parents[2]
NOBODY = 65534

PROGRAM = """
import json, os, socket, sys
from camsvc.system import landlock, sandbox
version, folder, user = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if user != os.getuid():
    os.setgid(user)
    os.setuid(user)
hidden, outside = os.path.join(folder, "hidden"), os.path.join(folder, "outside")
landlock.version = lambda: version
try:
    words = sandbox.enter(hidden, [os.path.join(hidden, "staging")], 1 << 30)
except OSError as error:
    words = f"incomplete: {error.strerror}"
def bind():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
deeds = {
    "read": lambda: open(os.path.join(hidden, "file")).close(),
    "write": lambda: open(os.path.join(hidden, "file"), "r+").close(),
    "make": lambda: open(os.path.join(hidden, "new"), "x").close(),
    "rename": lambda: os.rename(os.path.join(hidden, "file"), os.path.join(hidden, "renamed")),
    "move out": lambda: os.rename(os.path.join(hidden, "renamed"), os.path.join(outside, "file")),
    "empty": lambda: os.truncate(os.path.join(hidden, "other"), 0),
    "serve": bind,
    "signal": lambda: os.kill(os.getppid(), 0),
    "stage": lambda: open(os.path.join(hidden, "staging", "new"), "x").close(),
    "read outside": lambda: open(os.path.join(outside, "kept")).close(),
    "write outside": lambda: open(os.path.join(outside, "new"), "x").close(),
    "list": lambda: os.listdir(folder),
}
refused = []
for name, deed in deeds.items():
    try:
        deed()
    except OSError:
        refused.append(name)
print(json.dumps([words, refused]))
"""
FILES = {"read", "write", "make", "rename", "move out"}


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that other users get to as well, which they do not to `tmp_path`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.mark.parametrize("user", [os.getuid(), NOBODY], ids=["this-user", "another"])
@pytest.mark.parametrize("version", [0, 1, 2, 3, 4, 5, 6, 7])
def test_each_version_keeps_what_it_can(open_path: Path, version: int, user: int) -> None:
    if version > landlock.version():
        pytest.skip(f"the kernel's Landlock is of version {landlock.version()}")
    other = user != os.getuid()
    if other and os.getuid() != 0:
        pytest.skip("only root can start a process of another user")
    folder = open_path / "data"
    for name in ("hidden", "hidden/staging", "outside"):
        (folder / name).mkdir(parents=True)
    for name in ("hidden/file", "hidden/other", "outside/kept"):
        (folder / name).write_text("x")
    if other:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user)
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(version), str(folder), str(user)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    words, refused = json.loads(ran.stdout)
    expected = FILES if version else set()
    for since, deeds in ((landlock.TRUNCATE, {"empty"}), (landlock.TCP, {"serve"})):
        expected = expected | (deeds if version >= since else set())
    # Where this process is root's, another user's cannot send it signals in any case.
    expected = expected | ({"signal"} if version >= landlock.SCOPES or other else set())
    assert set(refused) == expected, words
    assert words.startswith("files" if version else "incomplete")
