"""What an OpenCV camera reads from: whether it is there, and why it is not.

Messages reach clients, so none names a path or an address.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camsvc.drivers.linux import holders, video_nodes
from camsvc.model.errors import DeviceAway, DriverError, DriverFault
from camsvc.model.values import Finding


def check(settings: Mapping[str, Any]) -> None:
    """Refuse what is plainly not there.

    Raises:
        DriverFault: the file does not exist, is a folder, or may not be read.
        DeviceAway: the device is not attached, or may not be used.
    """
    if settings["kind"] == "file":
        _check_file(Path(settings["source"]))
    elif path := _node(settings):
        _check_device(path)


def _node(settings: Mapping[str, Any]) -> Path | None:
    """Return the path of the source's device node; None: it has none."""
    is_node = settings["kind"] == "device" and sys.platform == "linux"
    return video_nodes.device_path(settings["source"]) if is_node else None


def findings(settings: Mapping[str, Any]) -> list[Finding]:
    """Return what can be seen of the source without opening it, for an operator."""
    try:
        check(settings)
    except (DriverError, DriverFault) as error:
        return [Finding(False, str(error))]
    path = _node(settings)
    if path is None:
        return []
    node = video_nodes.find(settings["source"])
    found = [Finding(True, f"attached: {node.name} at {node.path}")] if node else []
    return found + holders.holding(path)


def closed(settings: Mapping[str, Any]) -> Exception:
    """Return the error of a source that did not open, with what to look at."""
    match settings["kind"]:
        case "file":
            return DriverFault(
                "the file of the settings' `source` cannot be read as a video: it is cut off, of "
                "an unknown format, or not a video at all"
            )
        case "url":
            return DriverError(
                "the stream of the settings' `source` did not open within "
                f"{settings['read_timeout_s']:g} s: check its address, and that it is being sent, "
                "in a format that FFmpeg reads"
            )
    path = _node(settings)
    if path and ((held := holders.holders(path)) or video_nodes.is_taken(path)):
        return holders.in_use(held)
    return DriverError(
        "the camera of the settings' `source` did not open: another program may hold it (only one "
        "can), or it is not attached, or it gives no format that OpenCV reads"
    )


def _check_file(path: Path) -> None:
    subject = "the video file of the settings' `source`"
    if path.is_dir():
        raise DriverFault(f"{subject} is a folder; allowed: a video file")
    if not path.exists():
        raise DriverFault(f"{subject} does not exist")
    if not os.access(path, os.R_OK):
        raise DriverFault(f"{subject} may not be read by the service's user")


def _check_device(path: Path) -> None:
    # Both temporary: cameras are plugged in, and udev sets a new node's rights a moment later.
    if not path.exists():
        raise DeviceAway(
            "no camera is attached where the settings' `source` says; `camsvc discover` lists "
            "those that are"
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise DeviceAway(
            "the service's user may not use the camera of the settings' `source`: add it to the "
            "group that owns the device (usually `video`)"
        )
