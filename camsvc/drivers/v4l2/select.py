"""Which V4L2 device the settings select, and what can be seen of it without opening it.

`device` is an index or a path, where /dev/v4l/by-id and by-path last whatever is plugged in when;
`serial` is the serial number that a USB camera reports, wherever it is plugged in.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camsvc.drivers.linux import holders, kernel_log, video_nodes
from camsvc.drivers.linux.video_nodes import Node
from camsvc.model.errors import DeviceAway, DriverError, DriverFault
from camsvc.model.values import Device, Finding


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
        raise DeviceAway(
            "the service's user may not use the camera: add it to the group that owns the device "
            "(usually `video`)"
        )
    return node


def _by_serial(serial: str) -> Node | None:
    nodes = [node for node in video_nodes.nodes() if node.serial == serial]
    if len({_device_of(node) for node in nodes}) > 1:
        raise DriverFault(
            f"{len(nodes)} cameras have the serial number {serial!r}: select one by where it is "
            "plugged in, with `device` and a name of /dev/v4l/by-path"
        )
    return nodes[0] if nodes else None


def _device_of(node: Node) -> str:
    """Return the USB interface's folder: a camera has nodes for several kinds of data."""
    return os.path.realpath(Path("/sys/class/video4linux") / Path(node.path).name / "device")


def list_devices() -> list[Device]:
    """List the devices that can capture, each by its serial number where no other has it."""
    nodes = video_nodes.nodes()
    serials = [node.serial for node in nodes]
    return [
        Device(
            node.address,
            node.name,
            node.name,
            node.serial,
            {"serial": node.serial}
            if node.serial and serials.count(node.serial) == 1
            else {"device": node.address},
        )
        for node in nodes
    ]


def matches(settings: Mapping[str, Any], device: Device) -> bool:
    """Whether settings select a device: by its serial number, or by any path that leads to it."""
    if settings["serial"] is not None:
        return bool(settings["serial"] == device.serial)
    path = video_nodes.device_path(settings["device"])
    return os.path.realpath(path) == os.path.realpath(device.address)


def findings(settings: Mapping[str, Any]) -> list[Finding]:
    """Say what can be seen of the device without opening it, for an operator."""
    try:
        node = resolve(settings)
    except (DriverError, DriverFault) as error:
        return [Finding(False, str(error))]
    known = f"{node.name} at {node.path}" + (f", serial {node.serial}" if node.serial else "")
    address = video_nodes.usb_address(node)
    return [
        Finding(True, f"attached: {known}"),
        *holders.holding(node.path),
        *(kernel_log.findings(address) if address else ()),
    ]
