"""A live stream over HTTP, as network cameras send it, and when each picture was sent."""

import contextlib
import itertools
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.support.videos import FPS, HEIGHT, WIDTH, Video, ffmpeg

PICTURES = 300
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
    """Sends a picture each 40 ms from when somebody connects, whether it is read or not."""

    def __init__(self, folder: Path) -> None:
        pixels = np.fromfile(folder / "live.bgr", np.uint8)
        self.pictures = Video(folder, pixels.reshape(PICTURES, HEIGHT, WIDTH, 3))
        self.sent_s: list[float] = []
        """When each picture was sent, in seconds of Unix time."""
        self._parts = _split((folder / "live.ts").read_bytes())
        self._over = threading.Event()

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """Serve it once; give its URL."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            sending = threading.Thread(target=self._serve, args=[listening])
            sending.start()
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}/live.ts"
            finally:
                self._over.set()
                sending.join()

    def _serve(self, listening: socket.socket) -> None:
        viewer, _ = listening.accept()
        with viewer, contextlib.suppress(OSError):  # it left
            viewer.settimeout(5)
            viewer.recv(1 << 16)
            viewer.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
            begun = time.monotonic()
            for number, part in enumerate(self._parts):
                due_s = begun + number / FPS - time.monotonic()
                if self._over.wait(max(0.0, due_s)):
                    return
                viewer.sendall(part)
                self.sent_s.append(time.time())


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
