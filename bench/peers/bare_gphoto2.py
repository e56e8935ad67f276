"""A camera on python-gphoto2 by itself, for `bare_camera`.

python -m bench.peers.bare_gphoto2 FOLDER IOLIBS PORT FPS
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import gphoto2 as gp

from bench.peers import bare_camera


class Camera:
    """The camera at a port; `fps` is the rate of its live view."""

    def __init__(self, port: str, fps: float) -> None:
        ports = gp.PortInfoList()
        ports.load()
        self._camera: Any = gp.Camera()
        self._camera.set_port_info(ports.get_info(ports.lookup_path(port)))
        self._camera.init()
        self._interval_s, self._due = 1 / fps, 0.0

    def still(self) -> bytes:
        """Release the shutter, and fetch the file that the camera reports."""
        self._camera.trigger_capture()
        place = None
        while True:
            kind, data = self._camera.wait_for_event(1000)
            if kind == gp.GP_EVENT_FILE_ADDED:
                place = (data.folder, data.name)
            elif kind == gp.GP_EVENT_CAPTURE_COMPLETE and place:
                break
        return _contents(self._camera.file_get(*place, gp.GP_FILE_TYPE_NORMAL))

    def frame(self) -> bytes:
        """Wait until the next frame is due, and fetch it."""
        now = time.monotonic()
        due = max(self._due, now)
        time.sleep(due - now)
        self._due = due + self._interval_s
        return _contents(self._camera.capture_preview())

    def close(self) -> None:
        """Disconnect."""
        self._camera.exit()


def _contents(file: Any) -> bytes:
    """Return a copy of a file's bytes, which go with the file: somebody has to hold it."""
    return bytes(file.get_data_and_size())


if __name__ == "__main__":
    folder, iolibs, port, fps = sys.argv[1:]
    os.environ["IOLIBS"] = iolibs  # importing the library has set it
    asyncio.run(bare_camera.serve(lambda: Camera(port, float(fps)), Path(folder)))
