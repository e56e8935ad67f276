"""In place of the library that shows pictures on a screen, which Picamera2 imports."""


class PixelFormat:
    """What it takes of it before anything is shown."""
