"""Camera drivers. Each runs in a worker process only, and alone imports its camera's library."""

BUILTIN = {
    "simulated": "camsvc.drivers.simulated:SimulatedCamera",
    "opencv": "camsvc.drivers.opencv:OpenCVCamera",
    "v4l2": "camsvc.drivers.v4l2:V4L2Camera",
}
"""Names usable as `driver` in the settings; any other is a dotted path "package.module:Class"."""
