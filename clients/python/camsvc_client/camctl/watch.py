"""The command `watch`: all cameras, again and again."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from camsvc_client import ServiceUnreachable
from camsvc_client.camctl import output
from camsvc_client.camctl.cameras import overview
from camsvc_client.camctl.output import emit, plain
from camsvc_client.camctl.session import Session, interactive


async def watch(
    session: Session,
    interval: Annotated[
        float, typer.Option("--interval", "-i", min=0.1, metavar="SECONDS", help="How often.")
    ] = 1.0,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="End after so many.")] = 0,
) -> None:
    """Show all cameras, refreshed. With --json, a line each time."""
    screen = (
        Live(console=output.out, auto_refresh=False) if interactive() and not session.json else None
    )
    if screen:
        screen.start()
    try:
        done = 0
        while True:
            await _refresh(session, screen, first=done == 0)
            done += 1
            if done == count:
                return
            await asyncio.sleep(interval)
    finally:
        if screen:
            screen.stop()


async def _refresh(session: Session, screen: Live | None, *, first: bool) -> None:
    try:
        cameras = await session.client.list_cameras()
    except ServiceUnreachable as error:
        if first:
            raise  # a wrong address, most likely
        if session.json:
            output.error(error, str(error), json=True)
        elif screen:
            screen.update(Text.from_markup(f"[bold red]{escape(str(error))}[/]"), refresh=True)
        else:
            output.complain(str(error))
        return
    if session.json:
        emit([plain(camera) for camera in cameras])
    elif screen:
        note = Text(f"{session.client.address}, Ctrl-C ends", style="dim")
        screen.update(Group(overview(cameras), note), refresh=True)
    else:
        output.show(overview(cameras))
