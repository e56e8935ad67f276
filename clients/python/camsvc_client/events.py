"""Events of captures: every one, once, in order, through restarts of the service."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import grpc
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_pb2 import CaptureEvent

from camsvc_client.calls import Caller
from camsvc_client.channel import RpcErrorInfo
from camsvc_client.errors import CamsvcError, EventsMissed, InvalidRequest
from camsvc_client.resume import resumed
from camsvc_client.streams import Mark, Stream

OnConnection = Callable[[CamsvcError | None], None]
"""Called with the error when the connection is lost, and with None when it is back."""


class EventStream(Stream[CaptureEvent]):
    """Events as they come, each once; continues through restarts of the service.

    Example:
        async with client.capture_events("sim0") as events:
            print("the newest event so far is number", events.place)
            await client.capture("sim0")
            print((await anext(events)).sequence)
    """

    def __init__(
        self,
        caller: Caller,
        camera: str,
        after_sequence: int | None,
        on_connection: OnConnection | None,
    ) -> None:
        self._place = _Place(after_sequence)
        super().__init__(_events(caller, camera, self._place, on_connection))

    @property
    def place(self) -> int | None:
        """The number of the last event that was read, or need not be; None: not yet known.

        A program that stores it continues with it, as `after_sequence`, after its own restart.
        """
        return self._place.sequence


@dataclass(slots=True)
class _Place:
    sequence: int | None


async def _events(
    caller: Caller, camera: str, place: _Place, on_connection: OnConnection | None
) -> AsyncGenerator[CaptureEvent | Mark, None]:
    """Yield events, endlessly.

    Raises:
        EventsMissed: those that were asked for are no longer kept, or the history was replaced.
        CamsvcError: as `resumed`.
    """
    lost = False

    def request() -> api.CaptureEventsRequest:
        return api.CaptureEventsRequest(camera=camera, after_sequence=place.sequence)

    resuming = resumed(caller, lambda stub: stub.CaptureEvents, request)
    try:
        async with aclosing(resuming) as messages:
            async for message in messages:
                if isinstance(message, CamsvcError):
                    if on_connection and not lost:
                        on_connection(message)
                    lost = True
                    continue
                if message is None:
                    # Without a place of its own, a reader has begun only once it knows its place.
                    if place.sequence is not None:
                        yield Mark.READY
                elif message.HasField("gap"):
                    oldest = message.gap.first_available_sequence
                    raise _missed(
                        f"the events after number {place.sequence or 0} are no longer kept; "
                        f"the oldest is number {oldest}",
                        resume_after=oldest - 1,
                    )
                elif message.HasField("event"):
                    place.sequence = message.event.sequence
                    yield message.event
                else:
                    first = place.sequence is None
                    place.sequence = message.heartbeat.last_sequence
                    if first:
                        yield Mark.READY
                if lost and on_connection:
                    on_connection(None)
                lost = False
    except InvalidRequest as error:
        newest = error.metadata.get("last_sequence")
        if newest is None:
            raise
        raise _missed(
            f"event number {place.sequence or 0} does not exist: the service's history was "
            f"replaced, and its newest event is number {newest}",
            resume_after=0,
        ) from error


def _missed(text: str, *, resume_after: int) -> EventsMissed:
    info = RpcErrorInfo(grpc.StatusCode.OUT_OF_RANGE, None, text)
    return EventsMissed(info, resume_after=resume_after)
