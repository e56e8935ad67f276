"""The command line: its options, and its commands from the other files of this folder."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Annotated

import typer

from camsvc_client import DEFAULT_ADDRESS, Tls
from camsvc_client.camctl import (
    cameras,
    controls,
    events,
    exits,
    history,
    live,
    scan,
    stills,
)
from camsvc_client.camctl.output import say
from camsvc_client.camctl.session import Service, command, usage

app = typer.Typer(
    help="The camera service on the command line.",
    epilog=exits.help_text(),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(value: bool) -> None:
    if value:
        say(f"camctl {importlib.metadata.version('camsvc-client')}")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    *,
    address: Annotated[
        str,
        typer.Option("--address", "-a", metavar="HOST:PORT", envvar="CAMSVC_ADDRESS"),
    ] = DEFAULT_ADDRESS,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt the connection.")] = False,
    ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Authorities to trust, PEM; implies --tls."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", envvar="CAMSVC_TOKEN", help="Sent with every call."),
    ] = None,
    http_proxy: Annotated[
        bool, typer.Option("--http-proxy", help="Connect by the proxy that $http_proxy names.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="And exit.")
    ] = False,
) -> None:
    if ca and not ca.is_file():
        usage(f"--ca: the file {ca} does not exist")
    context.obj = Service(address, Tls(ca) if tls or ca else None, token, http_proxy)


app.command("list")(command(cameras.list_cameras))
app.command()(command(cameras.show))
app.command()(command(stills.capture))
app.command()(command(live.live))
app.command()(command(events.events))
app.command()(command(history.history))
app.command()(command(stills.download))
app.command("controls")(command(controls.show_controls))
app.command("set")(command(controls.set_controls))
app.command()(command(cameras.reset))
app.command()(command(cameras.discover))
app.command()(command(cameras.watch))
app.command()(command(scan.scan, retry=scan.PATIENT))
