"""The drivers that come with the service, by name."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """Where a driver has its class and the model of its settings, as "package.module:Class".

    `python` is the interpreter that has its library; None: the service's own.
    """

    driver: str
    settings: str
    python: str | None = None


NO_CAMERA = "none"
"""In place of a driver, for a worker that makes thumbnails."""

BUILTIN = {
    "simulated": BuiltIn(
        "camsvc.drivers.simulated.camera:SimulatedCamera",
        "camsvc.drivers.simulated.settings:SimulatedSettings",
    ),
    "v4l2": BuiltIn(
        "camsvc.drivers.v4l2.camera:V4L2Camera",
        "camsvc.drivers.v4l2.settings:V4L2Settings",
    ),
    "opencv": BuiltIn(
        "camsvc.drivers.opencv.camera:OpenCVCamera",
        "camsvc.drivers.opencv.settings:OpenCVSettings",
    ),
    "gphoto2": BuiltIn(
        "camsvc.drivers.gphoto2.camera:GPhoto2Camera",
        "camsvc.drivers.gphoto2.settings:GPhoto2Settings",
    ),
    "picamera2": BuiltIn(
        "camsvc.drivers.picamera2.camera:Picamera2Camera",
        "camsvc.drivers.picamera2.settings:Picamera2Settings",
        # Raspberry Pi OS installs Picamera2 for the system's interpreter alone.
        python="/usr/bin/python3",
    ),
}
"""Names usable as `driver` in the settings; any other is a dotted path "package.module:Class".

Discovery gives a device that two of them can drive to the first.
"""
