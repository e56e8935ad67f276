"""A camera on Picamera2 by itself, for `bare_camera`. Run by the rig's Python.

python -m bench.peers.bare_picamera2 FOLDER ID
"""

import asyncio
import sys
from pathlib import Path

import cv2
from picamera2 import MappedArray, Picamera2

from bench.peers import bare_camera

_STILL_PX, _LIVE_PX = (3280, 2464), (1280, 960)
_STILL_QUALITY, _LIVE_QUALITY = 90, 80
"""As the service's, by default."""


class Camera:
    """The camera of a libcamera id, in the configuration that it was last used in."""

    def __init__(self, source: str) -> None:
        cv2.setNumThreads(1)
        number = [about["Id"] for about in Picamera2.global_camera_info()].index(source)
        self._camera = camera = Picamera2(number)
        self._configurations = {
            "still": camera.create_still_configuration({"size": _STILL_PX}, buffer_count=2),
            "live": camera.create_video_configuration({"size": _LIVE_PX}, raw=None, buffer_count=4),
        }
        self._mode = ""

    def still(self) -> bytes:
        """Encode the first picture whose exposure begins from now on."""
        self._enter("still")
        return self._jpeg(_STILL_QUALITY, flush=True)

    def frame(self) -> bytes:
        """Encode the next picture."""
        self._enter("live")
        return self._jpeg(_LIVE_QUALITY, flush=None)

    def close(self) -> None:
        """Give the camera back."""
        self._camera.close()

    def _enter(self, mode: str) -> None:
        if mode != self._mode:
            self._camera.stop()
            self._camera.configure(self._configurations[mode])
            self._camera.start()
            self._mode = mode

    def _jpeg(self, quality: int, *, flush: bool | None) -> bytes:
        request = self._camera.capture_request(flush=flush)
        with MappedArray(request, "main", write=False) as picture:
            pixels = cv2.cvtColor(picture.array, cv2.COLOR_YUV2BGR_NV12)
        request.release()
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return data.tobytes()


if __name__ == "__main__":
    folder, source = sys.argv[1:]
    asyncio.run(bare_camera.serve(lambda: Camera(source), Path(folder)))
