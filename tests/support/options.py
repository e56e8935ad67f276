"""The options of cameras, with the settings' own defaults for what a test does not say."""

from typing import Any

from camsvc.config.cameras import CameraSettings
from camsvc.model.options import CameraOptions


def camera_options(camera: str = "cam", driver: str = "fake", **values: Any) -> CameraOptions:
    """Return a camera's options; `values` are keys that every camera has."""
    return CameraSettings(id=camera, driver=driver, **values).camera_options
