"""Picamera2 0.3.38 counts on a newer PiDNG than PyPI's last, 4.0.9.

One that takes the camera's name, and writes into an open file.
"""

import contextlib

with contextlib.suppress(ImportError):  # while they are being installed
    from pidng import camdefs, core

    class _Camera(camdefs.Picamera2Camera):
        def __init__(self, fmt, metadata, model):
            super().__init__(fmt, metadata)
            self.tags.set(camdefs.Tag.UniqueCameraModel, model)

    class _Dng(core.PICAM2DNG):
        def convert(self, image, file):
            file.write(super().convert(image))

    camdefs.Picamera2Camera, core.PICAM2DNG = _Camera, _Dng
