"""Commands about pictures: capture, download."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import typer
from camapi.v1 import camera_pb2 as pb
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from camsvc_client import CamsvcError, DeadlineExceeded, Image, Shot, WhenBusy, utc
from camsvc_client.camctl import controls, exits, output, progress
from camsvc_client.camctl.completion import Cameras
from camsvc_client.camctl.output import emit, say
from camsvc_client.camctl.plain import plain
from camsvc_client.camctl.session import Session, Timeout, pairs, usage
from camsvc_client.images import extension

_EXPLAIN_S = 2.0

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="File or folder. Default: CAMERA-TIME in this folder.",
    ),
]


async def capture(
    session: Session,
    *,
    cameras: Cameras,
    output_path: Output = None,
    format: Annotated[
        Literal["jpeg", "png", "raw"], typer.Option("--format", "-f", help="How to encode it.")
    ] = "jpeg",
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, metavar="PERCENT", help="JPEG quality.")
    ] = None,
    max_width: Annotated[
        int | None, typer.Option(min=1, metavar="PIXELS", help="Scale down to this width.")
    ] = None,
    max_height: Annotated[
        int | None, typer.Option(min=1, metavar="PIXELS", help="Scale down to this height.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="NAME=VALUE", help="A control, for this shot only."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", help="A note kept with the picture."),
    ] = None,
    when_busy: Annotated[
        Literal["retry", "queue", "fail"], typer.Option(help="While another still is taken.")
    ] = "retry",
    request_id: Annotated[
        str | None,
        typer.Option(metavar="UUID", help="The same again gives the same picture, taken once."),
    ] = None,
    save: Annotated[bool, typer.Option(help="Whether to fetch the picture.")] = True,
    timeout: Timeout = None,
) -> None:
    """Take a still and save it; with several cameras, at the same moment."""
    noted = pairs(label, "--label")
    wanted = pairs(settings, "--set")
    several = len(cameras) > 1
    if several and output_path is not None and not output_path.is_dir():
        usage(f"--output: for several cameras it has to be a folder that exists, not {output_path}")
    if several and request_id:
        usage("--request-id is for one camera")
    if several and when_busy != "retry":
        usage("--when-busy is for one camera: of several, one that is busy has no picture")

    shots = [
        Shot(
            camera=camera,
            format=format,
            quality_percent=quality,
            max_width_px=max_width,
            max_height_px=max_height,
            controls=await controls.typed(session.client, camera, wanted, timeout),
            labels=noted,
            request_id=request_id or str(uuid4()),
        )
        for camera in cameras
    ]
    if several:
        await _group(session, shots, output_path, timeout, save=save)
    else:
        await _single(session, shots[0], when_busy, output_path, timeout, save=save)


async def _single(
    session: Session,
    shot: Shot,
    when_busy: WhenBusy,
    path: Path | None,
    timeout: float | None,
    *,
    save: bool,
) -> None:
    async with _explaining(session, shot.camera), progress.shown(session, [shot]):
        picture = await session.client.capture(
            **asdict(shot), timeout=timeout, when_busy=when_busy, fetch=save
        )
    file = picture.save(_path(path, picture.capture, picture.mime_type)) if save else None
    _report(session, picture.capture, file, replayed=picture.replayed)


async def _group(
    session: Session, shots: list[Shot], path: Path | None, timeout: float | None, *, save: bool
) -> None:
    async with progress.shown(session, shots):
        group = await session.client.capture_group(shots, timeout=timeout)
    failed: CamsvcError | None = None
    for result in group.results:
        if result.error:
            failed = failed or result.error
            output.error(result.error, str(result.error), json=session.json)
        elif result.capture:
            file = None
            if save:
                image = await session.client.download_image(result.capture.capture_id)
                file = image.save(_path(path, result.capture, image.mime_type))
            _report(session, result.capture, file, replayed=result.replayed)
    if group.skew_s is not None and not session.json:
        say(f"{group.skew_s * 1000:.1f} ms between the first and the last exposure")
    if failed:
        raise typer.Exit(exits.code_of(failed))


@contextlib.asynccontextmanager
async def _explaining(session: Session, camera: str) -> AsyncIterator[None]:
    """Print what is wrong with a camera that gave no picture in time."""
    try:
        yield
    except DeadlineExceeded as error:
        with contextlib.suppress(CamsvcError):
            shown = await session.client.get_camera(camera, timeout=_EXPLAIN_S)
            fault = shown.fault.message
            if fault and fault not in str(error) and not session.json:
                state = pb.Camera.State.Name(shown.state).removeprefix("STATE_")
                output.complain(f"camera {camera!r} is {state}: {fault}")
        raise


def _report(session: Session, capture: pb.Capture, file: Path | None, *, replayed: bool) -> None:
    if session.json:
        kept = str(file) if file else None
        emit({"capture": capture, "file": kept, "replayed": replayed})
        return
    image = capture.image
    pixels = f"{image.width_px} x {image.height_px}, " if image.width_px else ""  # RAW: unknown
    what = pixels + output.size(image.size_bytes)
    if capture.parts:
        others = ", ".join(part.name for part in capture.parts[1:])
        what += f", with {plain(others)} (camctl download --part)"
    took = f"in {capture.timing.total.ToNanoseconds() / 1e9:.2f} s"
    if capture.attempts > 1:
        took += f", {capture.attempts} attempts"
    if replayed:
        took = "taken before"
    where = f"[bold]{plain(str(file))}[/]" if file else f"kept as {plain(capture.capture_id)}"
    say(f"{where}: {plain(capture.camera)}, {what}, {took}")
    for warning in capture.warnings:
        output.hint(f"camera {capture.camera!r}: {warning}")


async def download(
    session: Session,
    *,
    capture_ids: Annotated[
        list[str], typer.Argument(metavar="CAPTURE...", help="As `history` lists them.")
    ],
    output_path: Output = None,
    thumbnail: Annotated[
        bool, typer.Option("--thumbnail", help="A JPEG of at most 320 pixels instead.")
    ] = False,
    part: Annotated[
        int, typer.Option(min=0, metavar="N", help="Which file of a shot that gave several.")
    ] = 0,
    timeout: Timeout = None,
) -> None:
    """Fetch pictures that are kept; resumes where a lost connection has interrupted it."""
    if len(capture_ids) > 1 and output_path is not None and not output_path.is_dir():
        usage("--output: for several captures it has to be a folder that exists")
    for capture_id in capture_ids:
        capture = await session.client.get_capture(capture_id)
        image = await _fetched(session, capture_id, thumbnail, part, timeout)
        suffix = "-thumbnail" if thumbnail else f"-{part}" if part else ""
        file = image.save(_path(output_path, capture, image.mime_type, suffix=suffix))
        if session.json:
            size = len(image.data)
            emit({"file": str(file), "size_bytes": size, "mime_type": image.mime_type})
        else:
            say(f"[bold]{plain(str(file))}[/]: {output.size(len(image.data))}")


def _path(wanted: Path | None, capture: pb.Capture, mime_type: str, *, suffix: str = "") -> Path:
    """Return where a picture goes: as wanted, or under the camera's name and the time of it."""
    if wanted is not None and not wanted.is_dir():
        return wanted
    taken = utc(capture.acquisition_time).astimezone()
    name = f"{capture.camera}-{taken:%Y%m%d-%H%M%S}-{taken.microsecond // 1000:03d}{suffix}"
    return (wanted or Path()) / f"{name}{extension(mime_type)}"


async def _fetched(
    session: Session, capture_id: str, thumbnail: bool, part: int, timeout: float | None
) -> Image:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(
        *columns, console=output.err, transient=True, disable=not progress.wanted(session)
    ) as bar:
        task = bar.add_task(plain(capture_id), total=None)
        return await session.client.download_image(
            capture_id,
            thumbnail=thumbnail,
            part=part,
            timeout=timeout,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
