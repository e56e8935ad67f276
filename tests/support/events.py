"""A reader of the events of captures: reads one stream, and remembers what came."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from tests.support.service import CALL_S, Service
from tests.support.waiting import until

Event = pb.CaptureEvent
ENDS = (Event.TYPE_SUCCEEDED, Event.TYPE_FAILED, Event.TYPE_CANCELLED)


class EventReader:
    """One CaptureEvents stream, read as fast as it comes. Use as `async with`.

    Once entered it misses nothing of what happens from then on.
    """

    def __init__(self, service: Service, **fields: Any) -> None:
        self._service = service
        self._request = api.CaptureEventsRequest(**fields)
        self.messages: list[api.CaptureEventsResponse] = []
        self.error: grpc.aio.AioRpcError | None = None

    async def __aenter__(self) -> Self:
        self._call = self._service.stub.CaptureEvents(self._request)
        async with asyncio.timeout(CALL_S):
            await self._call.initial_metadata()
        self._task = asyncio.create_task(self._read(), name="event reader")
        if not self._request.HasField("after_sequence"):
            await self.until(lambda: bool(self.messages), "its place")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._call.cancel()
        await asyncio.wait([self._task])

    async def _read(self) -> None:
        try:
            async for response in self._call:
                self.messages.append(response)
        except grpc.aio.AioRpcError as error:
            self.error = error
        except asyncio.CancelledError:
            pass  # it has left

    async def ended(self) -> grpc.aio.AioRpcError | None:
        """Wait until the service has ended the stream; return how."""
        async with asyncio.timeout(CALL_S):
            await asyncio.wait([self._task])
        return self.error

    @property
    def events(self) -> list[pb.CaptureEvent]:
        return [m.event for m in self.messages if m.HasField("event")]

    @property
    def heartbeats(self) -> list[int]:
        """The numbers that heartbeats told."""
        return [m.heartbeat.last_sequence for m in self.messages if m.HasField("heartbeat")]

    @property
    def numbers(self) -> list[int]:
        return [event.sequence for event in self.events]

    def of(self, capture_id: str) -> list[pb.CaptureEvent]:
        """Return one capture's events."""
        return [event for event in self.events if event.capture_id == capture_id]

    async def until(
        self, holds: Callable[[], bool], what: str, *, within_s: float = 10.0
    ) -> list[pb.CaptureEvent]:
        """Wait until something holds of what came; return all events so far."""

        async def came() -> bool:
            assert self.error is None, self.error
            return holds()

        try:
            await until(came, what, within_s=within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; there came {steps(self.events)}") from None
        return self.events

    async def until_ended(self, count: int = 1) -> list[pb.CaptureEvent]:
        """Wait until that many captures have ended in all; return all events so far."""
        return await self.until(
            lambda: sum(event.type in ENDS for event in self.events) >= count,
            f"{count} captures have ended",
        )

    async def until_type(
        self, kind: "Event.Type.ValueType", count: int = 1
    ) -> list[pb.CaptureEvent]:
        """Wait for that many events of a type; return all so far."""
        return await self.until(
            lambda: sum(event.type == kind for event in self.events) >= count,
            f"{count} x {Event.Type.Name(kind)}",
        )


def step(event: pb.CaptureEvent) -> str:
    """Return an event's type, and the figure that goes with it."""
    name = Event.Type.Name(event.type).removeprefix("TYPE_")
    if event.HasField("queue_position"):
        return f"{name} {event.queue_position}"
    return f"{name} in attempt {event.attempt}" if event.attempt > 1 else name


def steps(events: list[pb.CaptureEvent]) -> list[str]:
    """Return what happened, but for PROGRESS: that goes by the clock, and the machine's load."""
    return [step(event) for event in events if event.type != Event.TYPE_PROGRESS]
