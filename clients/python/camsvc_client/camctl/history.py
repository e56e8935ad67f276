"""The command `history`: captures that are kept."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer
from camapi.v1 import camera_pb2 as pb

from camsvc_client.camctl import output
from camsvc_client.camctl.completion import OnlyCamera
from camsvc_client.camctl.output import emit
from camsvc_client.camctl.plain import plain
from camsvc_client.camctl.session import Session, moment, pairs
from camsvc_client.camctl.tables import Column

_MOST_PER_PAGE = 1000
_COLUMNS = (
    Column("TIME"),
    Column("CAMERA"),
    Column("STATE", spare=1),
    Column("PIXELS", spare=2),
    Column("SIZE", right=True, spare=3),
    Column("CAPTURE"),
    Column(prose=True),
)


class State(Enum):
    """The states of captures, as Typer wants a choice of several."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


async def history(
    session: Session,
    *,
    camera: OnlyCamera = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", help="With this label."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Not older: 2026-05-17T14:00, or 15m, 2h, 7d."),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Older.")] = None,
    state: Annotated[
        list[State] | None,
        typer.Option(help="In this state."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="The newest; 0: all.")] = 20,
) -> None:
    """List captures, newest first. With --json, each on a line of its own."""
    labels = pairs(label, "--label")
    start, end = moment(since, "--since"), moment(until, "--until")
    found: list[pb.Capture] = []
    count = 0
    async with session.client.list_captures(
        camera,
        labels=labels,
        since=start,
        until=end,
        states=[chosen.value for chosen in state or ()],
        page_size=min(limit or _MOST_PER_PAGE, _MOST_PER_PAGE),
    ) as captures:
        async for capture in captures:
            count += 1
            if session.json:
                emit(capture)
            else:
                found.append(capture)
            if count == limit:
                break
    if not session.json:
        output.show(output.table(*_COLUMNS, rows=map(_row, found)))


def _row(capture: pb.Capture) -> tuple[str, ...]:
    image = capture.image
    there = capture.HasField("image")
    labels = " ".join(f"{key}={value}" for key, value in capture.labels.items())
    return (
        output.clock(capture.create_time),
        plain(capture.camera),
        output.state(pb.Capture.State.Name(capture.state).removeprefix("STATE_")),
        f"{image.width_px} x {image.height_px}" if there else "",
        output.size(image.size_bytes) if there else "",
        plain(capture.capture_id),
        plain(capture.error.message or "; ".join(capture.warnings) or labels),
    )
