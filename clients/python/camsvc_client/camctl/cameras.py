"""The commands list, watch, show, reset and discover."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import nullcontext
from typing import Annotated

import typer
from camapi.v1 import camera_pb2 as pb
from rich.console import Group
from rich.live import Live
from rich.text import Text

from camsvc_client import ServiceUnreachable, from_status
from camsvc_client.camctl import output
from camsvc_client.camctl.completion import Camera
from camsvc_client.camctl.output import emit, say
from camsvc_client.camctl.plain import plain
from camsvc_client.camctl.session import Session, Timeout, interactive
from camsvc_client.camctl.tables import Column

_QUICK_S = 5.0


async def list_cameras(session: Session) -> None:
    """List the cameras, with what each does now."""
    cameras = await session.client.list_cameras(timeout=_QUICK_S)
    session.answer(cameras, _overview(cameras))


def _overview(cameras: list[pb.Camera]) -> Text:
    rows = [
        (
            plain(camera.camera),
            output.camera_state(camera),
            plain(camera.model or camera.driver),
            str(camera.statistics.captures_succeeded),
            str(camera.statistics.captures_failed),
            str(camera.statistics.live_viewers),
            f"{camera.statistics.fps:.1f}" if camera.statistics.fps else "",
            plain(_remark(camera)),
        )
        for camera in cameras
    ]
    columns = (
        Column("CAMERA"),
        Column("STATE", width=10),
        Column("MODEL", spare=2),
        Column("TAKEN", right=True, spare=1),
        Column("FAILED", right=True, spare=1),
        Column("VIEWERS", right=True, spare=4),
        Column("FPS", width=5, right=True, spare=3),
        Column(prose=True),
    )
    return output.table(*columns, rows=rows)


def _remark(camera: pb.Camera) -> str:
    """Return what a person should know of a camera now."""
    if camera.HasField("fault"):
        return camera.fault.message
    if camera.queued_captures:
        return f"{camera.queued_captures} waiting"
    return "; ".join(camera.warnings)


async def watch(
    session: Session,
    interval: Annotated[
        float, typer.Option("--interval", "-i", min=0.1, metavar="SECONDS", help="How often.")
    ] = 1.0,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="End after so many.")] = 0,
) -> None:
    """Show all cameras, refreshed. With --json, a line each time."""
    on_screen = interactive() and not session.json
    screen = Live(console=output.out, auto_refresh=False) if on_screen else nullcontext()
    with screen as live:
        for number in itertools.count(1):
            await _refresh(session, live, first=number == 1)
            if number == count:
                return
            await asyncio.sleep(interval)


async def _refresh(session: Session, screen: Live | None, *, first: bool) -> None:
    try:
        cameras = await session.client.list_cameras()
    except ServiceUnreachable as error:
        if first:
            raise  # a wrong address, most likely
        if screen:
            screen.update(Text.from_markup(f"[bold red]{plain(str(error))}[/]"), refresh=True)
        else:
            output.error(error, str(error), json=session.json)
        return
    if screen:
        note = Text(f"{session.client.address}, Ctrl-C ends", style="dim")
        screen.update(Group(_overview(cameras), note), refresh=True)
    else:
        session.answer(cameras, _overview(cameras))


async def show(session: Session, camera: Camera) -> None:
    """Show all about one camera."""
    shown = await session.client.get_camera(camera, timeout=_QUICK_S)
    session.answer(shown, _details(shown))


def _details(camera: pb.Camera) -> Text:
    statistics, able = camera.statistics, camera.capabilities
    known = camera.HasField("capabilities")
    formats = [pb.ImageOptions.Format.Name(f).removeprefix("FORMAT_") for f in able.formats]
    active = camera.active_capture
    return output.facts(
        {
            "camera": f"[bold]{plain(camera.camera)}[/]",
            "state": f"{output.camera_state(camera)}, since {output.clock(camera.state_time)}",
            "fault": plain(str(from_status(camera.fault))) if camera.HasField("fault") else None,
            "warnings": plain("; ".join(camera.warnings)),
            "capturing": (
                f"{plain(active.capture_id)}, until about {output.clock(active.expected_end_time)}"
                if camera.HasField("active_capture")
                else None
            ),
            "waiting": str(camera.queued_captures) if camera.queued_captures else None,
            "health": _health(camera),
            "model": plain(camera.model),
            "driver": plain(camera.driver),
            "process": str(camera.worker_pid) if camera.worker_pid else None,
            **{plain(name): plain(value) for name, value in sorted(camera.details.items())},
            "stills": ", ".join(formats),
            "sizes": ", ".join(f"{s.width_px} x {s.height_px}" for s in able.sizes),
            "live view": _live(able) if known else None,
            "at worst": f"{camera.worst_case_capture_duration.ToNanoseconds() / 1e9:g} s a capture",
            "captures": (
                f"{statistics.captures_succeeded} taken, {statistics.captures_failed} failed, "
                f"{statistics.captures_rejected} refused"
            ),
            "live": (
                f"{statistics.live_viewers} viewers, {statistics.fps:.1f} fps, "
                f"{statistics.frames} frames so far, {statistics.bad_frames} bad"
            ),
            "recoveries": ", ".join(_recovery(entry) for entry in statistics.recoveries),
        }
    )


def _health(camera: pb.Camera) -> str:
    health = pb.Camera.Health.Name(camera.health).removeprefix("HEALTH_").lower()
    return f"{health}, {camera.statistics.consecutive_failures} failures in a row"


def _live(able: pb.CameraCapabilities) -> str:
    if not able.live_view:
        return "no"
    return "yes, also during a still" if able.capture_during_live_view else "yes, paused by a still"


def _recovery(entry: pb.RecoveryStatistics) -> str:
    name = pb.RecoveryStatistics.Rung.Name(entry.rung).removeprefix("RUNG_").lower()
    lasted = entry.last_duration.ToNanoseconds() / 1e9
    return f"{entry.count} x {name.replace('_', ' ')} (last {lasted:.2f} s)"


async def reset(session: Session, camera: Camera, timeout: Timeout = None) -> None:
    """Restart a camera, whatever it is doing; brings a faulted one back."""
    shown = await session.client.reset_camera(camera, timeout=timeout)
    if session.json:
        emit(shown)
    else:
        say(f"{plain(camera)} is {output.camera_state(shown)}")


async def discover(session: Session, timeout: Timeout = None) -> None:
    """Find out what is attached to the service's machine, with settings ready to paste."""
    found = await session.client.discover_cameras(timeout=timeout)
    if session.json:
        emit(found)
        return
    rows = [
        (
            plain(device.driver),
            plain(device.address),
            plain(device.camera) or "[dim]not configured[/]",
            plain(device.serial),
            plain(device.name),
        )
        for device in found.devices
    ]
    columns = (
        Column("DRIVER"),
        Column("ADDRESS"),
        Column("CAMERA"),
        Column("SERIAL", spare=1),
        Column("NAME", prose=True),
    )
    output.show(output.table(*columns, rows=rows))
    for failure in found.failures:
        output.hint(f"{failure.driver}: {failure.error.message}")
    for device in found.devices:
        if not device.camera and device.settings_snippet:
            say(f"\n[dim]# {plain(device.name)}[/]")
            for line in device.settings_snippet.splitlines():
                say(plain(line))
