"""Commands about controls: controls, set. Also what a typed value means for a control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from camapi.v1 import camera_pb2 as pb
from rich.text import Text

from camsvc_client import AsyncCameraClient, ControlValue, control_value
from camsvc_client.camctl import output
from camsvc_client.camctl.completion import Camera
from camsvc_client.camctl.plain import plain
from camsvc_client.camctl.session import Session, Timeout, pairs, usage
from camsvc_client.camctl.tables import Column

_TRUTHS = dict.fromkeys(("true", "on", "yes", "1"), True)
_TRUTHS |= dict.fromkeys(("false", "off", "no", "0"), False)

_WANTS = {pb.Control.TYPE_BOOL: "true or false", pb.Control.TYPE_INT: "a whole number"}

Settings = Annotated[
    list[str], typer.Argument(metavar="NAME=VALUE...", help="Such as gain=2 focus_mode=manual.")
]


async def show_controls(session: Session, camera: Camera, timeout: Timeout = None) -> None:
    """List a camera's controls, with their values and bounds."""
    controls = await session.client.list_controls(camera, timeout=timeout)
    session.answer(controls, _table(controls))


async def set_controls(
    session: Session, *, camera: Camera, settings: Settings, timeout: Timeout = None
) -> None:
    """Set controls, all or none; they hold until set again."""
    wanted = pairs(settings, "set")
    values = await typed(session.client, camera, wanted, timeout)
    now = await session.client.set_controls(camera, values, timeout=timeout)
    session.answer(now, _table([control for control in now if control.name in wanted]))


async def typed(
    client: AsyncCameraClient, camera: str, wanted: Mapping[str, str], timeout: float | None
) -> dict[str, ControlValue]:
    """Return typed values as the camera's controls take them."""
    if not wanted:
        return {}
    types = {c.name: c.type for c in await client.list_controls(camera, timeout=timeout)}
    # A name that the camera lacks is refused by the service, in better words.
    return {name: _value(name, text, types.get(name)) for name, text in wanted.items()}


def _value(name: str, text: str, kind: pb.Control.Type.ValueType | None) -> ControlValue:
    try:
        match kind:
            case pb.Control.TYPE_BOOL:
                return _TRUTHS[text.lower()]
            case pb.Control.TYPE_INT:
                return int(text)
            case pb.Control.TYPE_DOUBLE:
                return float(text)
            case _:
                return text
    except (ValueError, KeyError):
        wants = _WANTS.get(kind or pb.Control.TYPE_DOUBLE, "a number")
        usage(f"{name}: {text!r} is not allowed; allowed: {wants}")


_UNITS = {"[diop]": "dpt"}
"""What people write for a unit in UCUM notation, where that differs."""


def _table(controls: Sequence[pb.Control]) -> Text:
    rows = [
        (
            plain(control.name),
            f"[bold]{plain(shown(control_value(control.value)))}[/]",
            plain(_UNITS.get(control.unit, control.unit)),
            plain("; ".join(filter(None, (_allowed(control), control.description)))),
        )
        for control in controls
    ]
    columns = (
        Column("CONTROL"),
        Column("VALUE"),
        Column("UNIT", spare=1),
        Column("ALLOWED", prose=True),
    )
    return output.table(*columns, rows=rows)


def shown(value: ControlValue | None) -> str:
    """Return a control's value as text."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.10g}"
        case _:
            return str(value)


def _allowed(control: pb.Control) -> str:
    if control.access == pb.Control.ACCESS_READ:
        return "read only"
    if control.allowed_values:
        return ", ".join(shown(control_value(value)) for value in control.allowed_values)
    if not control.HasField("range"):
        return ""
    bounds = control.range
    least = f"{bounds.minimum:.10g}" if bounds.HasField("minimum") else ""
    most = f"{bounds.maximum:.10g}" if bounds.HasField("maximum") else ""
    steps = f" in steps of {control.increment:.10g}" if control.HasField("increment") else ""
    return f"{least} .. {most}{steps}"
