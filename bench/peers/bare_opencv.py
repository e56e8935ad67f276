"""A webcam on OpenCV by itself, for `bare_camera`: its own JPEGs, handed on as they are.

python -m bench.peers.bare_opencv FOLDER NODE WIDTH HEIGHT FPS
"""

import asyncio
import sys
import time
from pathlib import Path

import cv2

from bench.peers import bare_camera


class Camera:
    """The device at a node, which streams for as long as it is open."""

    def __init__(self, node: str, width_px: int, height_px: int, fps: float) -> None:
        self._camera = cv2.VideoCapture(node, cv2.CAP_V4L2)
        wanted = {
            cv2.CAP_PROP_FOURCC: int.from_bytes(b"MJPG", "little"),
            cv2.CAP_PROP_FRAME_WIDTH: width_px,
            cv2.CAP_PROP_FRAME_HEIGHT: height_px,
            cv2.CAP_PROP_FPS: fps,
            cv2.CAP_PROP_CONVERT_RGB: 0,
        }
        for name, value in wanted.items():
            if not self._camera.set(name, value):
                raise SystemExit(f"the device at {node} does not take {name} = {value}")
        self._interval_ms = 1000 / fps

    def still(self) -> bytes:
        """Return the first picture begun from now on: a frame's time is that of its end."""
        asked_ms = time.monotonic() * 1000
        while True:
            self._grab()
            begun_ms = self._camera.get(cv2.CAP_PROP_POS_MSEC) - self._interval_ms
            if begun_ms >= asked_ms:
                return self._retrieve()

    def frame(self) -> bytes:
        """Wait for the next frame."""
        self._grab()
        return self._retrieve()

    def close(self) -> None:
        """Give the device back."""
        self._camera.release()

    def _grab(self) -> None:
        if not self._camera.grab():
            raise SystemExit("the device delivered no frame")

    def _retrieve(self) -> bytes:
        _, data = self._camera.retrieve()
        return data.tobytes()


if __name__ == "__main__":
    folder, node, width, height, fps = sys.argv[1:]
    size = int(width), int(height)
    asyncio.run(bare_camera.serve(lambda: Camera(node, *size, float(fps)), Path(folder)))
