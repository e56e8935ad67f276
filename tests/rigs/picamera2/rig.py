"""The rig in use: settings of its two cameras, and their faults."""

import enum
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camsvc.model.options import Launch
from tests.rigs.picamera2.build import build
from tests.rigs.running import needed
from tests.support.scenes import camera

SIZE = (1920, 1080)
FPS = 30.0


class Fault(enum.Enum):
    """What a camera does as long as it is told to; the letters are those of sensor.cpp."""

    NONE = b"-"
    SILENT = b"s"
    """Frames stop; the camera can still be stopped."""
    STUCK = b"k"
    """The same, until the camera is started anew."""
    BLOCK = b"b"
    """Frames stop, and stopping the camera hangs with the GIL held."""
    ERROR = b"e"
    """Every frame is a bad one."""
    REFUSE = b"r"
    """Buffers cannot be queued, which ends Picamera2's event loop."""
    CRASH = b"c"
    """The process dies of the next frame."""


class RigCamera:
    """One camera of the rig, for one worker at a time."""

    def __init__(
        self, python: Path, source: str, switch: Path, kind: Mapping[str, str] | None = None
    ) -> None:
        self.python = python
        self.source = source
        self._switch = switch
        self._kind = kind or {}
        self.fault(Fault.NONE)

    @property
    def env(self) -> dict[str, str]:
        """The environment that its workers need."""
        return {"RIG_FAULT": str(self._switch), "LIBCAMERA_LOG_LEVELS": "*:ERROR", **self._kind}

    def launch(self, driver: str) -> Launch:
        """Return what starts a worker for it."""
        return Launch.of(driver, str(self.python), self.env)

    def settings(self, camera_id: str, **keys: Any) -> str:
        """Return its table of the settings file."""
        known: dict[str, Any] = {"source": self.source, "python": str(self.python), "env": self.env}
        return camera(camera_id, driver="picamera2", **{**known, **keys})

    def fault(self, kind: Fault) -> None:
        """Have it fail in this way from now on, in whatever process it is open."""
        fd = os.open(self._switch, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(fd, kind.value, 0)  # in place: it is mapped
        finally:
            os.close(fd)

    @property
    def failing(self) -> bool:
        """Whether a fault still holds."""
        return self._switch.read_bytes() != Fault.NONE.value


EIGHT_MEGAPIXELS = {
    "RIG_CAMERAS": str(Path(__file__).with_name("cameras-8mp.yaml")),
    "RIG_FRAME_US": "66667",
}
"""As a sensor of 3280x2464 gives them: 15 frames a second. They cost as much as they are large."""


def cameras(folder: Path, kind: Mapping[str, str] | None = None) -> Sequence[RigCamera]:
    """Return the rig's two cameras; skip the test where the rig cannot be had, or fail it in CI."""
    with needed():
        python = build()
    return [RigCamera(python, name, folder / name, kind) for name in ("left", "right")]
