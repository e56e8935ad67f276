"""What the kernel's devices tell of who may use a camera, and who does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from camsvc.drivers.picamera2 import nodes
from camsvc.model.values import Finding

ADVICE = "Only one program can use a camera: end the other, or configure another one."


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    """Return a folder of devices."""
    (tmp_path / "dma_heap").mkdir()
    for name in ("media0", "media1", "video0", "dma_heap/linux,cma", "dma_heap/system"):
        (tmp_path / name).touch()
    return tmp_path


def lock(dev: Path, name: str, pid: int, kind: str = "POSIX  ADVISORY  WRITE") -> str:
    """Return the kernel's line of a lock on a device."""
    about = (dev / name).stat()
    device = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}"
    return f"1: {kind} {pid} {device}:{about.st_ino} 0 EOF\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Return a folder of processes, of which 70 is known by name."""
    folder = tmp_path / "proc"
    (folder / "70").mkdir(parents=True)
    (folder / "70" / "comm").write_text("rpicam-hello\n")
    return folder


def test_a_program_that_has_locked_a_media_device_uses_a_camera(dev: Path, proc: Path) -> None:
    (proc / "locks").write_text(
        lock(dev, "media1", 70)
        + lock(dev, "media0", 70)
        + lock(dev, "video0", 71)
        + lock(dev, "media1", 72, "-> POSIX  ADVISORY  WRITE")  # waits
        + lock(dev, "media0", os.getpid())
    )
    held = "is held by rpicam-hello (pid 70)"
    assert nodes.in_use(True, dev, proc) == [Finding(False, f"the camera {held}", ADVICE)]
    several = Finding(True, f"a camera, this one or another, {held}", ADVICE)
    assert nodes.in_use(False, dev, proc) == [several]


def test_a_device_that_is_open_but_not_locked_is_free(dev: Path, proc: Path) -> None:
    (proc / "locks").write_text(lock(dev, "dma_heap/system", 70))
    assert nodes.in_use(True, dev, proc) == []


def test_a_program_that_is_not_seen_is_told_by_its_number(dev: Path, proc: Path) -> None:
    (proc / "locks").write_text(lock(dev, "media0", 99))
    assert "held by a program (pid 99)" in nodes.in_use(True, dev, proc)[0].text


_LOCK = """
import os, sys
os.lockf(os.open(sys.argv[1], os.O_RDWR), os.F_TLOCK, 0)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="this system does not tell of locks")
def test_a_lock_is_told_by_this_kernel(dev: Path) -> None:
    """It is taken as libcamera takes it."""
    command = [sys.executable, "-c", _LOCK, str(dev / "media0")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        found = nodes.in_use(True, dev)
        other.kill()
    assert [f"(pid {other.pid})" in finding.text for finding in found] == [True]


@pytest.mark.parametrize(
    ("shut", "told"),
    [
        ({"media1", "video0", "system"}, "media1, video0"),
        ({"system", "linux,cma"}, "dma_heap"),
        ({"system"}, None),  # one heap is enough
    ],
)
def test_what_may_not_be_opened_is_named(
    dev: Path, monkeypatch: pytest.MonkeyPatch, shut: set[str], told: str | None
) -> None:
    monkeypatch.setattr(os, "access", lambda node, mode: Path(node).name not in shut)
    texts = [finding.text for finding in nodes.forbidden(dev)]
    assert texts == ([f"not allowed to open: {told}"] if told else [])


def test_without_devices_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert nodes.forbidden(tmp_path) == nodes.in_use(True, tmp_path, tmp_path) == []
