"""Live view: frames, and statuses while there are none, through stills, faults and restarts."""

from __future__ import annotations

import enum
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from camsvc_client.calls import Caller
from camsvc_client.errors import CamsvcError, ServiceUnreachable, from_status
from camsvc_client.images import Frame
from camsvc_client.newest import Newest
from camsvc_client.resume import resumed
from camsvc_client.streams import Mark
from camsvc_client.values import utc

STATUS_REPEAT_S = 1.0
"""How often a viewer gets the status again while the stream is lost."""


class LiveState(enum.Enum):
    """The state of a live view.

    Example:
        if item.state is LiveState.UNREACHABLE:
            print("no connection")
    """

    STARTING = "starting"
    """The camera is being opened, or no frame has arrived yet."""
    LIVE = "live"
    """Frames arrive."""
    PAUSED = "paused"
    """Frames are held back on purpose, as during a still, and will resume by themselves."""
    RECOVERING = "recovering"
    """The camera is recovering; frames will resume by themselves."""
    OFFLINE = "offline"
    """No frame will come until a person acts: `LiveStatus.error` says what to do."""
    UNREACHABLE = "unreachable"
    """The service itself cannot be reached, or does not answer. The client keeps trying; frames
    will resume by themselves."""


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """Why there are no frames, or that they have resumed.

    `reason` is for people. `last_frame_time` is when the camera's last good frame was taken, by
    the service's clock. `error` is there in RECOVERING, OFFLINE and UNREACHABLE.

    Example:
        async for item in client.live_view("sim0"):
            if isinstance(item, LiveStatus):
                print(item.state.name, item.reason)
    """

    state: LiveState
    reason: str = ""
    last_frame_time: datetime | None = None
    error: CamsvcError | None = None


async def live_view(
    caller: Caller, request: api.LiveViewRequest
) -> AsyncGenerator[Frame | LiveStatus | Mark, None]:
    """Yield what a camera shows, for ever: to a slow reader the newest frame and newest status.

    The caller's connections are this viewer's own, and closed at the end.
    """
    missed = 0
    try:
        async with aclosing(Newest(_items(caller, request), type)) as items:
            async for item, passed_over in items:
                if isinstance(item, Frame):
                    missed += passed_over
                    yield replace(item, dropped=item.dropped + missed)
                else:
                    yield item
    finally:
        await caller.connections.close()


async def _items(
    caller: Caller, request: api.LiveViewRequest
) -> AsyncGenerator[Frame | LiveStatus | Mark, None]:
    """Yield everything that comes."""
    resuming = resumed(caller, lambda stub: stub.LiveView, lambda: request)
    last_frame_time: datetime | None = None
    reported: tuple[LiveState, float] | None = None
    dropped_before = dropped = 0
    async with aclosing(resuming) as messages:
        async for message in messages:
            if message is None:
                dropped_before += dropped  # the service counts per connection
                dropped = 0
                yield Mark.READY
            elif isinstance(message, CamsvcError):
                unreachable = isinstance(message, ServiceUnreachable)
                state = LiveState.UNREACHABLE if unreachable else LiveState.RECOVERING
                now = time.monotonic()
                if reported is None or reported[0] != state or now - reported[1] >= STATUS_REPEAT_S:
                    reported = state, now
                    yield LiveStatus(state, str(message), last_frame_time, message)
            elif message.HasField("frame"):
                reported = None
                frame = Frame.of(message.frame)
                dropped = frame.dropped
                last_frame_time = frame.acquired_at
                yield replace(frame, dropped=dropped_before + dropped)
            else:
                reported = None
                yield _status(message.status)


def _status(status: pb.LiveStatus) -> LiveStatus:
    return LiveStatus(
        state=_STATES.get(status.state, LiveState.STARTING),
        reason=status.reason,
        last_frame_time=utc(status.last_frame_time) if status.HasField("last_frame_time") else None,
        error=from_status(status.error) if status.HasField("error") else None,
    )


_STATES = {
    pb.LiveStatus.STATE_STARTING: LiveState.STARTING,
    pb.LiveStatus.STATE_LIVE: LiveState.LIVE,
    pb.LiveStatus.STATE_PAUSED: LiveState.PAUSED,
    pb.LiveStatus.STATE_RECOVERING: LiveState.RECOVERING,
    pb.LiveStatus.STATE_OFFLINE: LiveState.OFFLINE,
}
