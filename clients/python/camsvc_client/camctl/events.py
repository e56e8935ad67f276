"""The command `events`: what happened to captures, and what happens now."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import typer
from camapi.v1 import camera_pb2 as pb
from rich.text import Text

from camsvc_client import AsyncCameraClient, CamsvcError, EventsMissed
from camsvc_client.camctl import output
from camsvc_client.camctl.completion import OnlyCamera
from camsvc_client.camctl.output import hint
from camsvc_client.camctl.plain import plain
from camsvc_client.camctl.progress import words
from camsvc_client.camctl.session import Session
from camsvc_client.camctl.tables import Column
from camsvc_client.events import OnConnection

_COLUMNS = (
    Column(width=6, right=True),
    Column(),
    Column(width=len("unavailable")),
    Column(prose=True),
)


async def events(
    session: Session,
    *,
    camera: OnlyCamera = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Then new ones as they come.")
    ] = False,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="How many past ones.")] = 20,
    after: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", min=0, help="Those after this number instead; 0: all."),
    ] = None,
) -> None:
    """List what happened to captures. With --json, each on a line of its own."""
    newest = await _newest(session.client)
    if after is None:
        for event in await _last(session.client, camera, last, newest):
            session.answer(event, _line(event))
    start = newest if after is None else after
    on_connection = None if session.json else _connection
    async with aclosing(_after(session.client, start, newest, follow, on_connection)) as more:
        async for event in more:
            if camera in (None, event.camera):
                session.answer(event, _line(event))


async def _newest(client: AsyncCameraClient) -> int:
    async with client.capture_events() as stream:
        return stream.place or 0


async def _last(
    client: AsyncCameraClient, camera: str | None, count: int, newest: int
) -> list[pb.CaptureEvent]:
    """Return the last events of a camera, or of all: looks further back until there are enough."""
    oldest, span = 0, count
    while True:
        first = max(oldest, newest - span)
        try:
            events = [event async for event in _after(client, first, newest)]
        except EventsMissed as error:  # not so many are kept
            oldest = error.resume_after
            continue
        found = [event for event in events if camera in (None, event.camera)]
        if len(found) >= count or first == oldest:
            return found[max(0, len(found) - count) :]
        span *= 8


async def _after(
    client: AsyncCameraClient,
    start: int,
    newest: int,
    follow: bool = False,
    on_connection: OnConnection | None = None,
) -> AsyncGenerator[pb.CaptureEvent, None]:
    """Yield all cameras' events after a number, up to the newest of now or for ever."""
    async with client.capture_events(after_sequence=start, on_connection=on_connection) as stream:
        while follow or (stream.place or 0) < newest:
            yield await anext(stream)


def _line(event: pb.CaptureEvent) -> Text:
    kind = pb.CaptureEvent.Type.Name(event.type).removeprefix("TYPE_").removeprefix("CAMERA_")
    row = (
        f"[dim]{event.sequence}[/]",
        f"[dim]{output.clock(event.event_time)}[/]",
        output.state(kind),
        plain(words(event)),
    )
    return output.table(*_COLUMNS, rows=[row])


def _connection(error: CamsvcError | None) -> None:
    hint("the service is back" if error is None else f"{error}; trying again")
