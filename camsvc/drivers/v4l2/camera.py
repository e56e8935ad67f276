"""A webcam or grabber, read from the kernel itself (Linux).

Unlike the `opencv` driver it knows when a frame was taken, which formats, rates and ranges the
device has, who holds it, and whether it is still there; see ADR 23. MJPG is passed on untouched.
"""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from camsvc.drivers.base import Driver, DriverState
from camsvc.drivers.linux import holders, kernel_log, video_nodes, webcam
from camsvc.drivers.linux.video_nodes import Node
from camsvc.drivers.v4l2.controls import DeviceControls
from camsvc.drivers.v4l2.device import FORBIDDEN, Device, Mode, Picture
from camsvc.drivers.v4l2.pixels import BITS, COMPRESSED, pixels
from camsvc.model.errors import DeviceAway, DeviceInUse, DriverError, DriverFault
from camsvc.model.values import Control, ControlValue, DeviceInfo, Finding, Frame, Shot
from camsvc.model.values import Device as Found

_SILENCE_S, _SILENT_FRAMES = 1.5, 4
"""Live, a camera counts as silent after so long, and when so many frames are missing: before the
service takes it for hung (`stall_timeout_s`, 2 s), and kills a worker that only waits."""


class V4L2Camera(Driver):
    """A device selected by `device` or `serial`. It streams for as long as it is open."""

    name = "v4l2"

    def __init__(self, settings: Mapping[str, Any], state: DriverState) -> None:
        self._settings = settings
        self._timeout_s: float = settings["read_timeout_s"]
        self._open: Device | None = None

    def open(self) -> DeviceInfo:
        """Open the device, ask for what the settings want, and report what it gives instead.

        Raises:
            DeviceAway: it is not attached, another program has it, or it delivers no frame.
            DriverFault: the settings select several devices, or one of another kind.
        """
        node = _resolve(self._settings)
        self._open = device = Device(node.path, self.interrupt)
        self._mode, asked = self._configure(device, node)
        self._controls = DeviceControls(device)
        for _ in range(self._settings["warmup_frames"]):
            device.next(self._mode, self._timeout_s)
        return self._info(device, node, asked)

    def _configure(self, device: Device, node: Node) -> tuple[Mode, dict[str, str]]:
        """Return what the device gives, and what was asked for where that is something else."""
        settings, fourcc = self._settings, self._settings["fourcc"]
        width = settings["width_px"]
        size = (width, settings["height_px"]) if width else None
        try:
            mode = device.configure("MJPG" if fourcc is None else fourcc, size, settings["fps"])
            device.start()
        except DeviceInUse as error:
            raise holders.in_use(holders.holders(node.path)) from error
        return mode, webcam.unfulfilled(settings, mode.details)

    def _info(self, device: Device, node: Node, asked: Mapping[str, str]) -> DeviceInfo:
        mode, offers = self._mode, device.offers()
        sizes = {(o.width_px, o.height_px) for o in offers if o.fourcc == mode.fourcc}
        offered = "; ".join(map(str, offers))
        return DeviceInfo(
            model=node.name,
            formats=["JPEG", "PNG"],
            serial=node.serial,
            has_controls=bool(self._controls.all()),
            sizes=sorted(sizes | {(mode.width_px, mode.height_px)}),
            capture_during_live_view=True,  # a still is one of the frames
            # The frame under way is too old by one, the next one may be, then it is on its way.
            expected_capture_s=0.02 + 3 * mode.interval_ns / 1e9,
            details={
                **mode.details,
                **{f"{key}_asked": value for key, value in asked.items()},
                "offered": offered,
            },
            warnings=[
                f"the camera's {key} is not {value}, as its settings ask for; it offers: {offered}"
                for key, value in asked.items()
            ],
        )

    def capture(self, shot: Shot) -> Frame:
        """Return the first frame whose exposure began after this call.

        Raises:
            DeviceAway: the device was unplugged, or is silent.
            DriverError: the frames are too old, or not whole.
        """
        asked_ns = time.monotonic_ns()
        give_up = time.monotonic() + self._timeout_s
        while time.monotonic() < give_up:
            picture = self._device.next(self._mode, self._timeout_s)
            if picture is not None and picture.exposed_from_ns >= asked_ns:
                return self._frame(picture, webcam.exposure_us(self._controls.value))
        raise DriverError(
            f"the camera's frames are all older than the request for {self._timeout_s:g} s"
        )

    def read(self) -> Frame | None:
        silence_s = max(_SILENCE_S, _SILENT_FRAMES * self._mode.interval_ns / 1e9)
        picture = self._device.next(self._mode, min(silence_s, self._timeout_s), hurried=True)
        return None if picture is None else self._frame(picture)

    def _frame(self, picture: Picture, exposure_us: int | None = None) -> Frame:
        if self._mode.fourcc in COMPRESSED:
            return Frame(picture.time_ns, None, picture.data, "image/jpeg", exposure_us)
        got, bits = pixels(picture.data, self._mode), BITS.get(self._mode.fourcc)
        return Frame(picture.time_ns, got, exposure_us=exposure_us, bits=bits)

    def controls(self) -> list[Control]:
        return self._controls.all()

    def set_controls(self, values: Mapping[str, ControlValue]) -> None:
        self._controls.set(values)

    def health_check(self) -> None:
        self._device.check()

    def close(self) -> None:
        device, self._open = self._open, None
        if device is not None:
            device.close()

    @property
    def _device(self) -> Device:
        if self._open is None:
            raise DriverError("the camera is not open")
        return self._open

    @classmethod
    def discover(cls, configured: Sequence[Mapping[str, Any]] = ()) -> list[Found]:
        """List the devices that can capture, each by its serial number where no other has it."""
        nodes = video_nodes.nodes()
        serials = [node.serial for node in nodes]

        def selecting(node: Node) -> dict[str, str | int]:
            alone = node.serial and serials.count(node.serial) == 1
            return {"serial": node.serial} if alone else {"device": node.address}

        return [Found(n.address, n.name, n.name, n.serial, selecting(n)) for n in nodes]

    @classmethod
    def selects(cls, settings: Mapping[str, Any], device: Found) -> bool:
        """Whether settings select this device: by its serial number, or a path that leads to it."""
        if settings["serial"] is not None:
            return bool(settings["serial"] == device.serial)
        path = video_nodes.device_path(settings["device"])
        return os.path.realpath(path) == os.path.realpath(device.address)

    @classmethod
    def diagnose(cls, settings: Mapping[str, Any]) -> list[Finding]:
        """Say whether the device is there, may be used, is held, and what the kernel says of it."""
        try:
            node = _resolve(settings)
        except (DriverError, DriverFault) as error:
            return [Finding(False, str(error))]
        known = f"{node.name} at {node.path}" + (f", serial {node.serial}" if node.serial else "")
        address = video_nodes.usb_address(node)
        return [
            Finding(True, f"attached: {known}"),
            *holders.holding(node.path),
            *(kernel_log.findings(address) if address else ()),
        ]


def _resolve(settings: Mapping[str, Any]) -> Node:
    """Return the device that the settings select.

    `device` is an index or a path, where /dev/v4l/by-id and by-path last whatever is plugged in
    when; `serial` is the serial number that a USB camera reports, wherever it is plugged in.

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
