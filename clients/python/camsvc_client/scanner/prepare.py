"""Checks before the stage moves: that each camera can do what the plan asks of it."""

from __future__ import annotations

from collections.abc import Mapping

from camapi.v1 import camera_pb2 as pb

from camsvc_client.aio import AsyncCameraClient
from camsvc_client.scanner.plan import EXPOSURE, FOCUS, Plan
from camsvc_client.values import ControlValue, control_value

_MODES = {FOCUS: "focus_mode", EXPOSURE: "exposure_mode"}
"""Which control leaves another one to the camera, unless it is "manual"."""
_MANUAL = "manual"
_ROUNDED = 0.01
"""A device rounds what it is set to: by so much of it, or by its own increment."""


class CannotScan(ValueError):
    """A camera cannot take the pictures of the plan: the text says which, and why.

    Example:
        except CannotScan as error:
            print(error)
    """


async def prepare(client: AsyncCameraClient, camera: str, plan: Plan) -> Mapping[str, ControlValue]:
    """Set what holds for the whole scan, read it back, and return it.

    Raises:
        CannotScan: the camera lacks the plan's format, or does not keep a value it was set to.
        CamsvcError: the service refuses a value, or the camera is unavailable.
    """
    controls = {control.name: control for control in await client.list_controls(camera)}
    offered = (await client.get_camera(camera)).capabilities.formats
    names = [pb.ImageOptions.Format.Name(f).removeprefix("FORMAT_").lower() for f in offered]
    if plan.format not in names:
        raise CannotScan(
            f"camera {camera!r} does not offer {plan.format}; allowed: {', '.join(names)}"
        )
    values = plan.settings()
    for name, mode in _MODES.items():
        if name in values and _has_manual(controls, mode):
            values = {mode: _MANUAL, **values}
    if values:
        for control in await client.set_controls(camera, values):
            if control.name in values:
                _check(camera, control, values[control.name])
    return values


def _has_manual(controls: Mapping[str, pb.Control], name: str) -> bool:
    if name not in controls:
        return False
    allowed = controls[name].allowed_values
    return not allowed or _MANUAL in map(control_value, allowed)


def _check(camera: str, control: pb.Control, wanted: ControlValue) -> None:
    found = control_value(control.value)
    if found is None or found == wanted:  # None: it can be set only
        return
    if isinstance(wanted, int | float) and isinstance(found, int | float):
        step = control.increment if control.HasField("increment") else 0.0
        if abs(found - wanted) <= max(step, _ROUNDED * abs(wanted)):
            return
    raise CannotScan(
        f"camera {camera!r} does not keep {control.name}: it was set to {wanted}, and is {found}"
    )
