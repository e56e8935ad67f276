"""A live stream over HTTP, as network cameras send it, and when each picture was sent."""

import contextlib
import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.support.videos import FPS, HEIGHT, WIDTH, Video, ffmpeg

PICTURES = 300
_ROOT = Path(__file__).parents[2]
_TEST = f"testsrc2=size={WIDTH}x{HEIGHT}:rate={FPS}"
_PACKET, _SYNC, _STARTS = 188, 0x47, 0x40
_VIDEO = b"\x00\x00\x01\xe0"
"""What a picture's first packet has in its payload."""


def make(folder: Path) -> None:
    """Encode the stream, and decode its pictures, into a folder."""
    numbered = ("-f", "lavfi", "-i", _TEST, "-frames:v", str(PICTURES))
    # A viewer waits for a keyframe: one comes every 0.4 s.
    h264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-tune", "zerolatency", "-g", "10")
    subprocess.run(ffmpeg(*numbered, *h264, str(folder / "live.ts")), check=True)
    raw = ("-f", "rawvideo", "-pix_fmt", "bgr24", str(folder / "live.bgr"))
    subprocess.run(ffmpeg(*numbered, *raw), check=True)


class LiveStream:
    """Sends a picture each 40 ms from when somebody connects, whether it is read or not.

    In a process of its own: the driver in this one is to wait for nothing but its camera.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        pixels = np.fromfile(folder / "live.bgr", np.uint8)
        self.pictures = Video(folder, pixels.reshape(PICTURES, HEIGHT, WIDTH, 3))
        self.sent_s: list[float] = []
        """When each picture was sent, in seconds of Unix time; known when it is over."""

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """Serve it once; give its URL."""
        command = [sys.executable, "-m", "tests.support.live_stream", str(self._folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as sender:
            assert sender.stdout is not None
            try:
                yield f"http://127.0.0.1:{int(sender.stdout.readline())}/live.ts"
            finally:
                sender.terminate()
                said, _ = sender.communicate()
                self.sent_s = [float(line) for line in said.split("\n")[:-1]]


def send(folder: Path) -> None:
    """Say the port; send the stream to the first who connects, and say when each picture went."""
    parts = _split((folder / "live.ts").read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        viewer, _ = listening.accept()
    with viewer, contextlib.suppress(ConnectionError):  # it left
        viewer.recv(1 << 16)
        viewer.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
        begun = time.monotonic()
        for number, part in enumerate(parts):
            time.sleep(max(0.0, begun + number / FPS - time.monotonic()))
            viewer.sendall(part)
            print(time.time(), flush=True)


def _split(stream: bytes) -> list[bytes]:
    """Cut a transport stream in front of each picture; what comes first goes with the first."""
    starts = [
        at
        for at in range(0, len(stream), _PACKET)
        if stream[at + 1] & _STARTS and _VIDEO in stream[at : at + _PACKET]
    ]
    assert len(starts) == PICTURES
    assert all(stream[at] == _SYNC for at in starts)
    cuts = [0, *starts[1:], len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(cuts)]


if __name__ == "__main__":
    send(Path(sys.argv[1]))
