"""The command `live`: figures of the live view, and a preview where the terminal can show one."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from camsvc_client import Frame, LiveState, LiveStatus
from camsvc_client.camctl import output
from camsvc_client.camctl.completion import Camera
from camsvc_client.camctl.output import emit
from camsvc_client.camctl.plain import plain
from camsvc_client.camctl.screen import Screen
from camsvc_client.camctl.session import Session, interactive
from camsvc_client.images import extension

Item = Frame | LiveStatus

_WINDOW_S = 3.0
"""Over how long the rate is measured."""


async def live(
    session: Session,
    *,
    camera: Camera,
    max_fps: Annotated[
        float | None, typer.Option(min=0.01, max=1000, metavar="FPS", help="Not more.")
    ] = None,
    max_width: Annotated[
        int | None, typer.Option(min=1, metavar="PIXELS", help="Scale down to this width.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Save the frames there.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--preview/--no-preview", help="Show it, where the terminal can.")
    ] = True,
    frames: Annotated[
        int, typer.Option("--frames", "-n", min=0, help="End after so many; 0: never.")
    ] = 0,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="End after so long.")
    ] = None,
) -> None:
    """Watch a camera: frames per second, age, drops. With --json, a line for each frame."""
    if save:
        save.mkdir(parents=True, exist_ok=True)
    figures = Figures(camera)
    view = session.client.live_view(camera, max_fps=max_fps, max_width_px=max_width)
    ends_at = math.inf if seconds is None else time.monotonic() + seconds
    try:
        async with view, _shown(figures, json=session.json, preview_wanted=show) as show_item:
            # There is a status every second when there are no frames.
            async for item in view:
                figures.add(item)
                if isinstance(item, Frame) and save:
                    name = f"{camera}-{item.sequence:08d}{extension(item.mime_type)}"
                    await asyncio.to_thread(item.save, save / name)
                show_item(item)
                if (frames and figures.count >= frames) or time.monotonic() >= ends_at:
                    break
    finally:
        if not session.json and figures.begun:
            output.say(figures.line())  # also after Ctrl-C, which is the usual end


@asynccontextmanager
async def _shown(
    figures: Figures, *, json: bool, preview_wanted: bool
) -> AsyncIterator[Callable[[Item], None]]:
    """Give a function that shows an item, for a program, a terminal or a log."""
    if json:
        yield lambda item: emit(_document(item))
    elif interactive():
        async with Screen(figures.line, preview_wanted=preview_wanted) as screen:
            yield screen.show
    else:
        yield figures.print_each_second


@dataclass
class Figures:
    """The figures of a live view so far."""

    camera: str
    count: int = 0
    dropped: int = 0
    status: LiveStatus = field(default_factory=lambda: LiveStatus(LiveState.STARTING))
    _recent: deque[tuple[float, float, int]] = field(default_factory=deque)
    _size: str = ""
    _printed_at: float = 0.0
    begun: bool = False
    """Whether anything came."""

    def add(self, item: Item) -> None:
        """Take an item in."""
        now = time.monotonic()
        self.begun = True
        if isinstance(item, LiveStatus):
            self.status = item
        else:
            self.count += 1
            self.dropped = item.dropped
            self._size = f"{item.width_px} x {item.height_px}"
            self._recent.append((now, item.age_s, len(item.data)))
        while self._recent and now - self._recent[0][0] > _WINDOW_S:
            self._recent.popleft()

    def line(self) -> str:
        """Return all of them in a line."""
        start = f"{plain(self.camera)}: {output.state(self.status.state.value)}"
        live = self.status.state is LiveState.LIVE
        if self.status.reason and not live:
            start += f", {plain(self.status.reason)}"
        if not live or len(self._recent) < 2:
            return f"{start}; {self.count} frames so far"
        span_s = self._recent[-1][0] - self._recent[0][0]
        fps = (len(self._recent) - 1) / span_s if span_s else 0.0
        age_ms = 1000 * sum(age for _, age, _ in self._recent) / len(self._recent)
        size = output.size(sum(count for _, _, count in self._recent) // len(self._recent))
        return (
            f"{start}, {fps:.1f} fps, {age_ms:.0f} ms old, {self._size}, {size} a frame; "
            f"{self.count} frames, {self.dropped} dropped"
        )

    def print_each_second(self, item: Item) -> None:
        """Print the line once a second, for a log."""
        now = time.monotonic()
        if now - self._printed_at >= 1.0 or isinstance(item, LiveStatus):
            self._printed_at = now
            output.say(self.line())


def _document(item: Item) -> dict[str, object]:
    if isinstance(item, Frame):
        return {
            "frame": {
                "sequence": item.sequence,
                "acquisition_time": item.acquired_at.isoformat(),
                "age_s": round(item.age_s, 6),
                "width_px": item.width_px,
                "height_px": item.height_px,
                "size_bytes": len(item.data),
                "frames_dropped": item.dropped,
            }
        }
    last = item.last_frame_time
    return {
        "status": {
            "state": item.state.name,
            "reason": item.reason,
            "last_frame_time": last.isoformat() if last else None,
        }
    }
