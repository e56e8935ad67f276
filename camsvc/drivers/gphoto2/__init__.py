"""Cameras on the USB, by libgphoto2; `camera` has the driver."""

try:
    import gphoto2  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"python-gphoto2 is missing ({error}). pip install 'camsvc[gphoto2]' brings it, with "
        "libgphoto2, for Linux and macOS"
    ) from error
