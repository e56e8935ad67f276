"""Which V4L2 device the settings select.

`device` is an index or a path, where /dev/v4l/by-id and by-path last whatever is plugged in when;
`serial` is the serial number that a USB camera reports, wherever it is plugged in.
"""

import os
from collections.abc import Mapping
from typing import Any

from camsvc.drivers.linux import video_nodes
from camsvc.drivers.linux.video_nodes import Node
from camsvc.drivers.v4l2.device import FORBIDDEN
from camsvc.model.errors import DeviceAway, DriverFault


def resolve(settings: Mapping[str, Any]) -> Node:
    """Return the device that the settings select.

    Raises:
        DeviceAway: it is not attached, or may not be used (yet).
        DriverFault: the settings select more than one.
    """
    device, serial = settings["device"], settings["serial"]
    node = video_nodes.find(device) if serial is None else _by_serial(serial)
    if node is None:
        raise DeviceAway(
            "no camera is attached that the settings select; `camsvc discover` lists those that are"
        )
    if not os.access(node.path, os.R_OK | os.W_OK):
        # Temporary: udev sets a new node's rights a moment after it is there.
        raise DeviceAway(FORBIDDEN)
    return node


def _by_serial(serial: str) -> Node | None:
    nodes = [node for node in video_nodes.nodes() if node.serial == serial]
    if len(set(map(video_nodes.interface, nodes))) > 1:
        raise DriverFault(
            f"{len(nodes)} cameras have the serial number {serial!r}: select one by where it is "
            "plugged in, with `device` and a name of /dev/v4l/by-path"
        )
    return nodes[0] if nodes else None
