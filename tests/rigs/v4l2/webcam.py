"""A webcam of the rig, as a test has it: a process that can be told what to do."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from camsvc.drivers.simulated.test_picture import TestPicture
from camsvc.images import codec
from tests.rigs.v4l2 import uvc

_PICTURES = 60
_QUALITY = 80
_PLUGGED_S = 20.0
_LOOK_S = 0.01


def make_frames(folder: Path) -> None:
    """Make the frames that webcams send, each with its number painted in, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, height in uvc.MJPG:
        picture = TestPicture(width, height)
        for number in range(_PICTURES):
            path = folder / f"{width}x{height}-{number:03}.jpg"
            if not path.exists():
                pixels = picture.paint(number, 0, "a webcam of the rig")
                path.write_bytes(bytes(codec.encode(pixels, codec.JPEG, _QUALITY)))


def until(holds: Callable[[], bool], what: str, *, within_s: float = _PLUGGED_S) -> None:
    """Look again and again until something holds; fail when it does not within the limit."""
    give_up_at = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < give_up_at, f"not within {within_s:g} s: {what}"
        time.sleep(_LOOK_S)


class Webcam:
    """A webcam with a serial number. Use as `with`; `plug` it in then."""

    def __init__(self, serial: str, frames: Path) -> None:
        self.serial = serial
        self._frames = frames
        self.by_id = Path(f"/dev/v4l/by-id/usb-camsvc_Rig_Webcam_{serial}-video-index0")

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.rigs.v4l2.camera", self.serial, str(self._frames)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.plugged = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def do(self, word: str) -> Any:
        """Give a command of `camera.py`; return what it answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        answer = json.loads(self._process.stdout.readline())
        assert not isinstance(answer, str) or answer == "ok", answer
        return answer

    @property
    def node(self) -> str:
        """The device's node now, such as /dev/video0."""
        return os.path.realpath(self.by_id)

    def plug(self) -> None:
        """Plug it in and wait until there is its node, with its rights and names."""
        self.do("plug")
        until(self.by_id.exists, f"{self.by_id} is there")
        self.plugged = True

    def unplug(self) -> None:
        """Pull the plug, and wait until the kernel has noticed."""
        self.do("unplug")
        self.plugged = False
        until(lambda: not self.by_id.exists(), f"{self.by_id} is gone")

    def restore(self) -> None:
        """Have it plugged in and without a fault."""
        for word in ("flow", "whole", "speak"):
            self.do(word)
        if not self.plugged:
            self.plug()

    def pictures(self, size: str) -> dict[bytes, int]:
        """Return the frames that it sends of a size, with the number of each."""
        files = sorted(self._frames.glob(f"{size}-*.jpg"))
        return {file.read_bytes(): number for number, file in enumerate(files)}
