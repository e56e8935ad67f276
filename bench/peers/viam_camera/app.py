"""A camera component served by the Viam Python SDK's own gRPC server.

    python app.py PORT

Better than its examples in one thing: a frame is encoded once, by a thread, not at each call.
"""

import asyncio
import sys
import threading

import cv2
from viam import logging
from viam.components.camera import Camera
from viam.media.video import CameraMimeType, NamedImage
from viam.proto.common import ResponseMetadata
from viam.rpc.server import Server

from bench.pictures import Source


class BenchCamera(Camera):
    """Answers GetImages with the newest frame."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._source = Source()
        self._first = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        self._first.wait()

    def _read(self) -> None:
        while True:
            _, frame = self._source.read()
            _, buffer = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 80])
            self._jpeg = buffer.tobytes()
            self._first.set()

    async def get_images(self, *, filter_source_names=None, extra=None, timeout=None, **kwargs):
        """Return the newest frame."""
        return [NamedImage("", self._jpeg, CameraMimeType.JPEG)], ResponseMetadata()

    async def get_point_cloud(self, *, extra=None, timeout=None, **kwargs):
        """Not this camera's."""
        raise NotImplementedError

    async def get_properties(self, *, timeout=None, **kwargs):
        """Return what the camera is."""
        return Camera.Properties(mime_types=[CameraMimeType.JPEG])


async def main(port: int) -> None:
    """Serve until killed."""
    await Server([BenchCamera("bench")]).serve("127.0.0.1", port, log_level=logging.WARNING)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
