"""The command `scan`, by `camsvc_client.scanner`."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from camsvc_client import CamsvcError, Retry
from camsvc_client.camctl import controls, exits, output
from camsvc_client.camctl.completion import camera_ids
from camsvc_client.camctl.output import emit, hint, say
from camsvc_client.camctl.plain import plain
from camsvc_client.camctl.progress import wanted
from camsvc_client.camctl.session import Session, pairs, usage
from camsvc_client.scanner import (
    Plan,
    Point,
    Progress,
    Scan,
    SimulatedStage,
    Stage,
    contact_sheet,
    cylinder,
    grid,
    manifest,
)

PATIENT = Retry(give_up_after_s=120.0, reconnect_s=120.0)
"""A scan runs unattended: it waits for a service that is being restarted."""


async def scan(
    session: Session,
    *,
    folder: Annotated[Path, typer.Argument(help="Where pictures and manifest go.")],
    camera: Annotated[
        list[str] | None,
        typer.Option(
            "--camera", "-c", metavar="ID", help="One or more.", autocompletion=camera_ids
        ),
    ] = None,
    cylindrical: Annotated[
        str | None, typer.Option("--cylinder", metavar="COLUMNSxROWS", help="Around an object.")
    ] = None,
    plane: Annotated[
        str | None, typer.Option("--grid", metavar="COLUMNSxROWS", help="On a plane.")
    ] = None,
    height_mm: Annotated[float, typer.Option(metavar="MM", min=0, help="Of the cylinder.")] = 0.0,
    step_mm: Annotated[
        float, typer.Option(metavar="MM", min=0, help="Between the points of the grid.")
    ] = 10.0,
    focus: Annotated[
        float | None, typer.Option(metavar="DIOPTRES", min=0, help="Fixed focus; 0 is infinity.")
    ] = None,
    exposure_us: Annotated[
        int | None, typer.Option(metavar="MICROSECONDS", min=1, help="Fixed.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="NAME=VALUE", help="Another control, fixed too."),
    ] = None,
    format: Annotated[
        Literal["jpeg", "png", "raw"], typer.Option(help="Of the pictures.")
    ] = "jpeg",
    settle: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Rest after each movement.")
    ] = 0.2,
    stage: Annotated[
        str,
        typer.Option(metavar="NAME", help="simulated, or module:function that makes your own."),
    ] = "simulated",
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long a point is tried.")
    ] = 120.0,
) -> None:
    """Scan an object, point by point. The same folder again resumes an interrupted scan.

    Without cameras and pattern, those of the folder are used.
    """
    points = _points(cylindrical, plane, height_mm, step_mm)
    if (points is None) != (not camera):
        usage("give both a pattern (--cylinder or --grid) and --camera, or neither to resume")
    mover = _stage(stage)
    more = pairs(settings, "--set")
    async with session.service.client() as client:
        await client.list_cameras()  # a wrong address is an error at once
    plan = None
    if points is not None and camera:
        values = await controls.typed(session.client, camera[0], more, None)
        plan = Plan(
            cameras=camera,
            points=points,
            focus_diopters=focus,
            exposure_us=exposure_us,
            controls=values,
            format=format,
            settle_s=settle,
        )
    await _run(session, folder, plan, patience, mover)


async def _run(
    session: Session, folder: Path, plan: Plan | None, patience_s: float, mover: Stage
) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=output.err, disable=not wanted(session)) as bar:

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.done)

        scan = Scan(folder, plan, patience_s=patience_s, on_progress=show)
        began = scan.progress
        task = bar.add_task("pictures", total=began.total, completed=began.done)
        if not session.json:
            if began.done:
                hint(f"resuming: {began.done} of {began.total} pictures are there")
            _warn_of_variation(scan.plan)
        try:
            result = await scan.run(session.client, mover)
        except (asyncio.CancelledError, CamsvcError, OSError):
            now = scan.progress
            if now.done and not session.json:
                hint(
                    f"{now.done} of {now.total} pictures are there; "
                    f"resume with: camctl scan {folder}"
                )
            raise
    if session.json:
        emit(
            {
                "folder": str(folder),
                "pictures": result.pictures,
                "missing": manifest.missing(result.missing),
                "contact_sheet": str(result.contact_sheet) if result.contact_sheet else None,
            }
        )
    else:
        say(f"[bold]{plain(str(folder))}[/]: {result.pictures} pictures, manifest.csv and .json")
        if not contact_sheet.possible():
            hint("no contact sheet without Pillow: pip install 'camsvc-client[scan]'")
        for (point, camera), why in sorted(result.missing.items()):
            output.complain(f"point {point}, {camera}: {why}")
    if result.missing:
        raise typer.Exit(exits.INCOMPLETE)


def _warn_of_variation(plan: Plan) -> None:
    loose = {"focus (--focus)": plan.focus_diopters, "exposure (--exposure-us)": plan.exposure_us}
    for name, value in loose.items():
        if value is None:
            hint(f"the {name} is not fixed: it may differ from picture to picture")


def _points(
    cylindrical: str | None, plane: str | None, height_mm: float, step_mm: float
) -> list[Point] | None:
    if cylindrical and plane:
        usage("--cylinder and --grid exclude each other")
    if cylindrical:
        return cylinder(*_counts(cylindrical, "--cylinder"), height_mm=height_mm)
    if plane:
        return grid(*_counts(plane, "--grid"), step_mm=step_mm)
    return None


def _counts(text: str, option: str) -> tuple[int, int]:
    columns, _, rows = text.lower().partition("x")
    if not (columns.isdigit() and rows.isdigit() and int(columns) and int(rows)):
        usage(f"{option}: {text!r} is not allowed; allowed: COLUMNSxROWS, such as 36x4")
    return int(columns), int(rows)


def _stage(name: str) -> Stage:
    if name == "simulated":
        return SimulatedStage()
    module, colon, function = name.partition(":")
    if not colon:
        usage(f"--stage: {name!r} is not allowed; allowed: simulated, module:function")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return cast(Stage, getattr(importlib.import_module(module), function)())
    except (ImportError, AttributeError) as error:
        usage(f"--stage: {error}")
