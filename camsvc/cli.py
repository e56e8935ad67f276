"""The command line: serve, discover, doctor, check-config."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from camsvc import __version__, logs
from camsvc.admin.report import Report
from camsvc.config.errors import SettingsError
from camsvc.config.settings import Settings, load
from camsvc.model import redaction
from camsvc.system import posix, sandbox

app = typer.Typer(
    help="A gRPC camera service whose cameras cannot hang it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_out = Console()
_err = Console(stderr=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Settings, TOML. Without: one simulated camera."
    ),
]
_BAD_SETTINGS, _BAD_ADDRESS, _BAD_DATA, _PROBLEMS = 2, 3, 4, 1


def _show_version(value: bool) -> None:
    if value:
        _out.print(f"camsvc {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="And exit.")
    ] = False,
) -> None:
    posix.open_standard_streams()


@app.command()
def serve(
    config: ConfigOption = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Address of the gRPC server.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for pictures and history, made when missing."),
    ] = None,
) -> None:
    """Run the service until Ctrl-C or SIGTERM; a second Ctrl-C ends it at once."""
    # gRPC's own lines on stderr are no JSON, and say of a taken port what we say more clearly.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from camsvc.app import serve as run  # noqa: PLC0415
    from camsvc.grpc_server.server import AddressInUse  # noqa: PLC0415 - gRPC only where it is needed
    from camsvc.storage.archive import ArchiveError  # noqa: PLC0415
    from camsvc.system.event_loop import PausableLoop  # noqa: PLC0415

    settings = _load(config, listen=listen, data_dir=data_dir)
    log = _configure_logs(settings)
    try:
        with asyncio.Runner(loop_factory=PausableLoop) as runner:
            runner.run(run(settings, log))
    except AddressInUse as error:
        _fail(
            f"cannot listen on {error}: the address is in use or not this machine's; "
            "choose another with --listen HOST:PORT",
            _BAD_ADDRESS,
        )
    except ArchiveError as error:
        _fail(str(error), _BAD_DATA)


@app.command("check-config")
def check_config(config: ConfigOption = None) -> None:
    """Read the settings and say what they mean, or what is wrong with them."""
    from camsvc.camera.deadline import worst_case_s  # noqa: PLC0415

    settings = _load(config)
    report = Report(_out)
    report.line("[green]ok[/]: {}", config or "no file, the defaults")
    report.line("  listen {}", settings.service.listen)
    report.line("  data {}", settings.service.data_dir)
    kept = sandbox.available() or "files cannot be kept from cameras' processes here"
    report.line("  sandbox {}: {}", settings.service.sandbox, kept)
    is_safe = _examine_folder(settings.service.data_dir, report)
    for options in (camera.camera_options for camera in settings.cameras):
        report.line(
            "  camera {}: driver {}, a capture answers within {} s at worst",
            options.id,
            options.driver,
            f"{worst_case_s(options):g}",
        )
    if not is_safe:
        raise typer.Exit(_BAD_DATA)


@app.command()
def discover(config: ConfigOption = None) -> None:
    """List the cameras attached to this machine, with settings ready to paste."""
    from camsvc.admin import doctor  # noqa: PLC0415

    settings = _load(config)
    _configure_logs(settings)
    asyncio.run(doctor.discover(settings, Report(_out)))


@app.command("doctor")
def doctor_command(
    config: ConfigOption = None,
    camera: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this camera; default: all.")
    ] = None,
) -> None:
    """Examine the data folder and each camera: what is attached, who holds it, a test capture."""
    from camsvc.admin import doctor  # noqa: PLC0415

    settings = _load(config)
    _configure_logs(settings)
    known = [c.id for c in settings.cameras]
    if camera is not None and camera not in known:
        _fail(f"camera {camera!r} is not configured; configured are: {', '.join(known)}")
    chosen = [c for c in settings.cameras if camera in (None, c.id)]
    report = Report(_out)
    is_safe = _examine_folder(settings.service.data_dir, report)
    if not asyncio.run(doctor.examine(settings.service, chosen, report)) or not is_safe:
        raise typer.Exit(_PROBLEMS)


def _load(config: Path | None, **service: Any) -> Settings:
    """Read the settings; end the command when they are wrong."""
    try:
        settings = load(config, **service)
    except SettingsError as error:
        _fail(str(error))
    redaction.hide(settings.secrets())
    return settings


def _examine_folder(folder: Path, report: Report) -> bool:
    """Say what is wrong with the data folder; return whether a start by this user would use it."""
    from camsvc.storage.data_folder import findings  # noqa: PLC0415

    found = findings(folder)
    for finding in found:
        word = "[yellow]loose[/]" if finding.ok else "[red]wrong[/]"
        report.line(f"  {word} {{}}", finding.text)
        report.line("        {}{}", finding.advice, "; the next start does it" * finding.ok)
    return all(finding.ok for finding in found)


def _configure_logs(settings: Settings) -> logs.LogWriter:
    service = settings.service
    return logs.configure(service.log_format, service.log_level, redaction.shown)


def _fail(message: str, code: int = _BAD_SETTINGS) -> NoReturn:
    text = escape(redaction.shown(message))
    _err.print(f"[bold red]camsvc:[/] {text}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)
