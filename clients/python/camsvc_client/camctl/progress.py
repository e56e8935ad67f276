"""How far a capture is, by its events, on a transient line of the terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from camapi.v1 import camera_pb2 as pb
from rich.status import Status

from camsvc_client import CamsvcError, EventStream, Shot
from camsvc_client.camctl import output
from camsvc_client.camctl.plain import plain
from camsvc_client.camctl.session import Session

_WAIT_S = 2.0
"""How long the capture waits for its events to begin; it continues without them."""


def wanted(session: Session) -> bool:
    """Whether a person watches."""
    return not session.json and sys.stderr.isatty()


@asynccontextmanager
async def shown(session: Session, shots: Sequence[Shot]) -> AsyncIterator[None]:
    """Show the progress of captures while they are under way."""
    if not wanted(session):
        yield
        return
    with output.err.status("asking for the camera") as status:
        events = session.client.capture_events()
        with suppress(CamsvcError, TimeoutError):
            await asyncio.wait_for(events.__aenter__(), _WAIT_S)
        task = asyncio.create_task(_follow(events, {shot.request_id for shot in shots}, status))
        try:
            yield
        finally:
            await events.close()
            await asyncio.wait([task])


async def _follow(events: EventStream, ids: set[str], status: Status) -> None:
    with suppress(CamsvcError):  # the capture itself reports what is wrong
        async for event in events:
            if event.request_id in ids:
                status.update(plain(words(event)))


def words(event: pb.CaptureEvent) -> str:
    """Return an event as a sentence."""
    kinds = pb.CaptureEvent
    said = {
        kinds.TYPE_QUEUED: f"waiting, number {event.queue_position} in the queue",
        kinds.TYPE_STARTED: "taking the picture",
        kinds.TYPE_PROGRESS: f"taking the picture, {event.progress_percent} %",
        kinds.TYPE_RETRYING: f"trying again: {event.error.message}",
        kinds.TYPE_RECOVERING: f"the camera is recovering: {event.error.message}",
        kinds.TYPE_SUCCEEDED: "taken",
        kinds.TYPE_CAMERA_AVAILABLE: "the camera is back",
    }
    text = said.get(event.type, event.error.message)
    if event.refused_count > 1:
        text = f"{event.refused_count} requests were refused, the last: {text}"
    return f"{event.camera}: {text}"
