"""A real RTSP server, built of Go modules, and a camera that publishes numbered pictures to it.

The server is built once for each state of its source (`tests/rigs/kept.py`), in half a minute.

    python -m tests.rigs.rtsp.rig URL FPS KEYFRAMES   publishes, and says when each picture went
"""

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from camsvc.drivers.simulated.test_picture import TestPicture
from tests.rigs import kept
from tests.rigs.running import RigMissing, run
from tests.support.videos import ffmpeg

SOURCES = sorted(Path(__file__).with_name("server").iterdir())
SIZE = (320, 240)
_ROOT = Path(__file__).parents[3]
_START_S = 60.0


def built() -> Path:
    """Return the folder with the server, which is built when needed.

    Raises:
        RigMissing: it could not be.
    """
    if not shutil.which("go"):
        raise RigMissing("no Go to build its server with", "apt-get install golang-go")

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as work:
            source = shutil.copytree(Path(__file__).with_name("server"), f"{work}/server")
            env = {"GOPATH": f"{work}/go", "GOCACHE": f"{work}/cache", "GOFLAGS": "-modcacherw"}
            run("go", "build", "-o", folder / "server", ".", env=env, cwd=Path(source))

    return kept.rig("rtsp", SOURCES, build)


class Process:
    """A process whose lines on stdout are kept in a file. Use as `with`."""

    def __init__(self, command: Sequence[str | Path], log: Path) -> None:
        self._command = command
        self._log = log

    def __enter__(self) -> "Process":
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stdin=subprocess.DEVNULL, cwd=_ROOT
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    @property
    def lines(self) -> list[str]:
        """What it has said so far."""
        return self._log.read_text().split("\n")[:-1]

    def said(self, line: str) -> None:
        """Wait until it has said something."""
        give_up = time.monotonic() + _START_S
        while line not in self.lines:
            assert self._process.poll() is None, self.lines
            assert time.monotonic() < give_up, f"it did not say {line!r}"
            time.sleep(0.01)  # a file cannot be waited for


@contextlib.contextmanager
def server(folder: Path, port: int, *options: str) -> Iterator[Process]:
    """Run a server at a port; `options` are its own."""
    command = [str(built() / "server"), "-address", f"127.0.0.1:{port}", *options]
    with Process(command, folder / f"server-{time.monotonic_ns()}.log") as process:
        process.said("serving")
        yield process


@contextlib.contextmanager
def camera(folder: Path, url: str, *, fps: float = 25, keyframes: int = 10) -> Iterator[Process]:
    """Publish pictures at a rate, each so many of which is a key frame."""
    command = [sys.executable, "-m", "tests.rigs.rtsp.rig", url, str(fps), str(keyframes)]
    with Process(command, folder / f"camera-{time.monotonic_ns()}.log") as process:
        yield process


def sent(process: Process) -> dict[int, float]:
    """Return when each picture went to the encoder, in seconds of the monotonic clock."""
    pairs = (line.split() for line in process.lines)
    return {int(number): float(seconds) for number, seconds in pairs}


def publish(url: str, fps: float, keyframes: int) -> None:
    """Paint, encode and publish until killed."""
    raw = ("-f", "rawvideo", "-pix_fmt", "bgr24", "-s", "{}x{}".format(*SIZE), "-r", str(fps))
    code = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency")
    keys = ("-g", str(keyframes), "-pix_fmt", "yuv420p")
    out = ("-f", "rtsp", "-rtsp_transport", "tcp", url)
    command = ffmpeg(*raw, "-i", "pipe:0", *code, *keys, *out)
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        picture, begun = TestPicture(*SIZE), time.monotonic()
        for number in range(1_000_000):
            time.sleep(max(0.0, begun + number / fps - time.monotonic()))
            print(number, time.monotonic(), flush=True)
            encoder.stdin.write(picture.paint(number, time.time_ns(), "").tobytes())
            encoder.stdin.flush()


if __name__ == "__main__":
    publish(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
