"""What is attached, for an operator: as discovery lists it, and as the doctor examines it."""

from collections.abc import Mapping, Sequence
from typing import Any

import gphoto2 as gp

from camsvc.drivers.gphoto2 import library, usb
from camsvc.drivers.gphoto2.usb import Attached, Choice
from camsvc.drivers.linux import kernel_log
from camsvc.model.errors import DriverError, DriverFault
from camsvc.model.values import Device, Finding


def devices(configured: Sequence[Mapping[str, Any]]) -> list[Device]:
    """List the cameras attached, wherever one of the settings says to look.

    Raises:
        DriverError, DriverFault: none was found, and some settings prevent looking.
    """
    found: dict[str, Attached] = {}
    failed: list[DriverError | DriverFault] = []
    folders = dict.fromkeys((settings["iolibs"], settings["camlibs"]) for settings in configured)
    for iolibs, camlibs in folders or [(None, None)]:
        try:
            library.use(iolibs, camlibs)
            found |= {camera.port: camera for camera in usb.attached()}
        except (DriverError, DriverFault) as error:
            failed.append(error)
    if failed and not found:
        raise failed[0]
    return [
        Device(camera.port, camera.model, camera.model, camera.serial, dict(choice.given))
        for camera, choice in told_apart(list(found.values()))
    ]


def selects(settings: Mapping[str, Any], found: Device) -> bool:
    """Whether settings name a device, or fit it while no other of its model is attached."""
    choice, camera = Choice.of(settings), Attached(found.model, found.address, found.serial)
    certain, possible = usb.resolve(choice, [camera])
    if choice.port or (choice.serial and certain):
        return bool(certain or possible)
    alone = "port" not in found.settings
    return alone and bool(certain or (possible and not found.serial))


def told_apart(cameras: list[Attached]) -> list[tuple[Attached, Choice]]:
    """Return cameras with what selects them: by their ports only where nothing better does."""
    models = [camera.model for camera in cameras]

    def choice(camera: Attached) -> Choice:
        if camera.serial:
            return Choice(serial=camera.serial)
        alike = models.count(camera.model) > 1
        return Choice(model=camera.model, port=camera.port if alike else "")

    return [(camera, choice(camera)) for camera in cameras]


def findings(choice: Choice) -> list[Finding]:
    """Return what can be said of the camera that the settings select, for an operator.

    What would make opening it fail is said in the same words.
    """
    version = gp.gp_library_version(gp.GP_VERSION_SHORT)[0]
    found = [Finding(True, f"libgphoto2 {version}")]
    cameras = usb.attached()
    certain, possible = usb.resolve(choice, cameras)
    if len(possible) > 1:
        if not choice.serial:
            return [*found, Finding(False, usb.several(choice, possible))]
        return [*found, Finding(True, f"distinguished by opening them: {usb.listed(possible)}")]
    camera = certain or next(iter(possible), None)
    if camera is None:
        return [*found, Finding(False, usb.missing(choice, cameras))]
    found.append(Finding(True, f"attached: {camera.model} at {camera.port}"))
    if usb.forbidden(camera.port):
        found.append(Finding(False, usb.FORBIDDEN))
    if usb.users(camera.port):
        found.append(Finding(False, usb.held(camera.port)))
    device = usb.system_device(camera.port)
    return [*found, *(kernel_log.findings(device.name) if device else ())]
