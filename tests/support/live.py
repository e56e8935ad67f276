"""A viewer of live view: reads one stream, and remembers what came and when."""

import asyncio
import itertools
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import cv2
import grpc
import numpy as np
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from camsvc.drivers.simulated.test_picture import read_number
from tests.support.service import Service
from tests.support.timing import Waits
from tests.support.waiting import until

Status = pb.LiveStatus
HEARTBEAT_S = 1.2
"""A second, and what timers and messages add to it."""

_REFUSED_S = 5.0


@dataclass(frozen=True)
class Message:
    """One message, and when it came: by the monotonic clock, and in Unix time.

    With a status, also how long processors have been waited for by then.
    """

    at: float
    at_ns: int
    waits: Waits | None
    frame: pb.LiveFrame | None
    status: pb.LiveStatus | None


class Watcher:
    """One LiveView stream, read as fast as it comes. Use as `async with`."""

    def __init__(
        self,
        service: Service,
        camera: str = "sim0",
        *,
        channel: grpc.aio.Channel | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        **fields: Any,
    ) -> None:
        self._heartbeat_s = heartbeat_s
        self._stub = service.stub if channel is None else CameraServiceStub(channel)
        self._request = api.LiveViewRequest(camera=camera, **fields)
        self.messages: list[Message] = []
        self.error: grpc.aio.AioRpcError | None = None

    async def __aenter__(self) -> Self:
        self._waits = Waits()
        self.started = time.monotonic()
        self._call = self._stub.LiveView(self._request)
        self._task = asyncio.create_task(self._read(), name="watcher")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.leave()
        if kind is None:
            self.check()

    async def leave(self) -> None:
        """End watching, as a client does that closes its window."""
        self.left, self._waits_left = time.monotonic(), Waits()
        self._call.cancel()
        await asyncio.wait([self._task])

    async def _read(self) -> None:
        try:
            async for response in self._call:
                kind = response.WhichOneof("payload")
                self.messages.append(
                    Message(
                        time.monotonic(),
                        time.time_ns(),
                        Waits() if kind == "status" else None,
                        response.frame if kind == "frame" else None,
                        response.status if kind == "status" else None,
                    )
                )
        except grpc.aio.AioRpcError as error:
            self.error = error
        except asyncio.CancelledError:
            pass  # `leave`

    @property
    def frames(self) -> list[pb.LiveFrame]:
        return [message.frame for message in self.messages if message.frame is not None]

    @property
    def statuses(self) -> list[pb.LiveStatus]:
        return [message.status for message in self.messages if message.status is not None]

    @property
    def changes(self) -> list[str]:
        """The states in their order, a repeated one once."""
        names = [Status.State.Name(s.state).removeprefix("STATE_") for s in self.statuses]
        return [name for name, _ in itertools.groupby(names)]

    def count(self, state: "Status.State.ValueType") -> int:
        """Return how often a state was entered."""
        states = [status.state for status in self.statuses]
        return sum(s == state for s, _ in itertools.groupby(states))

    def assert_first_within(self, promised_s: float) -> None:
        """The first message was a status, and came within a time since the call."""
        first = self.messages[0]
        assert first.waits is not None, "a frame without a status before it"
        took_s, waited_s = first.at - self.started, first.waits.since(self._waits)
        assert took_s - waited_s <= promised_s, f"{took_s:.3f} s, {waited_s:.3f} s of it waits"

    def waited_before_s(self, message: Message) -> float:
        """Return how long processors were waited for between the status before and this one."""
        with_waits = [self._waits, *(m.waits for m in self.messages if m.waits is not None)]
        assert message.waits is not None
        return message.waits.since(with_waits[with_waits.index(message.waits) - 1])

    async def until_frames(self, more: int = 1, *, within_s: float = 10.0) -> list[pb.LiveFrame]:
        """Wait for that many frames more than there are now; return them."""
        had = len(self.frames)

        async def come() -> bool:
            assert self.error is None, self.error
            return len(self.frames) >= had + more

        await until(come, f"{more} frames more, after {self.changes}", within_s=within_s)
        return self.frames[had:]

    async def until_state(
        self, state: "Status.State.ValueType", *, within_s: float = 10.0
    ) -> pb.LiveStatus:
        """Wait until a status of this state is the last one; return it."""

        async def entered() -> bool:
            return bool(self.statuses) and self.statuses[-1].state == state

        await until(entered, f"{Status.State.Name(state)} after {self.changes}", within_s=within_s)
        return self.statuses[-1]

    async def ended(self, *, within_s: float = _REFUSED_S) -> grpc.aio.AioRpcError:
        """Wait until the service has ended the stream; return how."""

        async def over() -> bool:
            return self._task.done()

        await until(over, "the stream has ended", within_s=within_s)
        assert self.error is not None
        return self.error

    def check(self) -> None:
        """Whatever happened: only newer frames, honestly dated; silence explained each second."""
        for before, after in itertools.pairwise(self.frames):
            assert after.sequence > before.sequence, "a frame is repeated, or older"
            before_ns = before.acquisition_time.ToNanoseconds()
            assert after.acquisition_time.ToNanoseconds() > before_ns
            assert after.frames_dropped >= before.frames_dropped
        last_at, waits, state = self.started, self._waits, Status.STATE_UNSPECIFIED
        for message in self.messages:
            if message.waits is not None:
                self._check_silence(message.at - last_at, message.waits.since(waits), state)
                waits = message.waits
            last_at = message.at
            if message.frame is not None:
                assert state == Status.STATE_LIVE, f"a frame while {Status.State.Name(state)}"
                assert message.frame.acquisition_time.ToNanoseconds() <= message.at_ns
            elif message.status is not None:
                state = message.status.state
                ill = state in (Status.STATE_RECOVERING, Status.STATE_OFFLINE)
                assert message.status.HasField("error") == ill
                late = message.status.reason.startswith("no frame came for")
                assert bool(message.status.reason) == (state != Status.STATE_LIVE or late)
        if self.error is None or self.error.code() is grpc.StatusCode.CANCELLED:
            self._check_silence(self.left - last_at, self._waits_left.since(waits), state)

    def _check_silence(
        self, seconds: float, waited_s: float, state: "Status.State.ValueType"
    ) -> None:
        if state != Status.STATE_LIVE:
            said = f"{seconds:.2f} s without a word while {Status.State.Name(state)}"
            assert seconds - waited_s <= self._heartbeat_s, f"{said}, {waited_s:.2f} s of it waits"


def pixels_of(frame: pb.LiveFrame) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """Decode a frame, which must be whole and of the size that it says."""
    assert frame.mime_type == "image/jpeg"
    pixels = cv2.imdecode(np.frombuffer(frame.data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape[:2] == (frame.height_px, frame.width_px)
    return np.asarray(pixels, np.uint8)


def number_in(frame: pb.LiveFrame) -> int:
    """Return the number of the frame that is painted into its picture."""
    number = read_number(pixels_of(frame))
    assert number is not None, "the picture's number is damaged"
    return number


def assert_numbers_rise(frames: list[pb.LiveFrame]) -> None:
    """No picture is shown twice, whatever its sequence says."""
    numbers = [number_in(frame) for frame in frames]
    assert all(b > a for a, b in itertools.pairwise(numbers)), numbers


def gaps_s(frames: list[pb.LiveFrame]) -> list[float]:
    """Return the times between the frames' acquisitions."""
    times = [frame.acquisition_time.ToNanoseconds() / 1e9 for frame in frames]
    return [after - before for before, after in itertools.pairwise(times)]
