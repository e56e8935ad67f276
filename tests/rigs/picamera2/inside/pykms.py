"""In place of the library that shows pictures on a screen, which Picamera2 imports."""


class _Formats:
    def __getattr__(self, name: str) -> str:
        return name


PixelFormat = _Formats()
