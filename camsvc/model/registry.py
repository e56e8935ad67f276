"""The drivers that come with the service, by name."""

BUILTIN = {
    "simulated": "camsvc.drivers.simulated.camera:SimulatedCamera",
    "v4l2": "camsvc.drivers.v4l2.camera:V4L2Camera",
    "opencv": "camsvc.drivers.opencv.camera:OpenCVCamera",
    "gphoto2": "camsvc.drivers.gphoto2.camera:GPhoto2Camera",
    "picamera2": "camsvc.drivers.picamera2.camera:Picamera2Camera",
}
"""Names usable as `driver` in the settings; any other is a dotted path "package.module:Class".

Discovery gives a device that two of them can drive to the first.
"""

PYTHON = {"picamera2": "/usr/bin/python3"}
"""The interpreters of drivers whose library is not to be had for the service's own: Raspberry Pi OS
installs Picamera2 for the system's alone."""
