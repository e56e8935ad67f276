"""A connection to the service, and the watch that notices when the service falls silent.

A service that is stopped (SIGSTOP), hangs, or is cut off without a word leaves its connection
standing: a call would wait for ever. So whenever calls wait and nothing has been heard for a
while, the service is asked something that it answers at once. HTTP/2 pings would not do: gRPC and
proxies answer those by themselves, whatever the service does, and it permits one every 5 s only.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import Any, ClassVar, Generic, TypeVar

import grpc
from camapi.v1.camera_service_pb2 import ListCamerasRequest
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub
from google.protobuf.message import Message

from camsvc_client import forks
from camsvc_client.target import Target

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

_HEALTH_CHECK = "/grpc.health.v1.Health/Check"
_EMPTY = b""
"""A HealthCheckRequest for the service as a whole, serialised."""

_LAST_WORDS_S = 0.05
"""gRPC tells an event loop the end of its calls some time after they were cancelled. One that is
closed by then would have it complain on stderr, through whatever other loop there is."""


class Silent(Exception):
    """The service has not answered, although the connection stands."""


class Line:
    """One channel. Calls are waited for through it; one that has fallen silent is of no more use.

    `silence_s` is how long nothing may be heard. Half of it is waited, half is left to the answer.
    """

    _open: ClassVar[dict[int, int]] = {}
    """By the id of each open line, in which process it was opened."""

    def __init__(self, target: Target, silence_s: float, *, live_view: bool = False) -> None:
        for process in list(Line._open.values()):
            forks.check(process)
        Line._open[id(self)] = os.getpid()
        self._forget = weakref.finalize(self, Line._open.pop, id(self), None)
        self._forget.atexit = False
        self.silent = False
        self._target = target
        self._half_s = silence_s / 2
        self._channel = target.open(live_view=live_view)
        self.stub = CameraServiceStub(self._channel)
        self._waited_for: set[grpc.aio.Call] = set()
        self._loop = asyncio.get_running_loop()
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._question: asyncio.Task[None] | None = None
        self._by_health = True

    async def answer(self, call: grpc.aio.UnaryUnaryCall[Q, R]) -> R:
        """Wait for a call's answer.

        Raises:
            Silent: the service has fallen silent; the call is cancelled.
            grpc.aio.AioRpcError: the call failed.
        """
        with _Waiting(self, call):
            return await call

    async def begun(self, call: grpc.aio.UnaryStreamCall[Q, R]) -> bool:
        """Wait for a stream's beginning; return whether it is one. Raises `Silent`."""
        with _Waiting(self, call):
            await call.initial_metadata()
        return not call.done()

    async def read(self, call: grpc.aio.UnaryStreamCall[Q, R]) -> R | None:
        """Wait for a stream's next message; None: it has ended. Raises as `answer` does."""
        reading = asyncio.ensure_future(call.read())
        try:
            with _Waiting(self, call):
                message = await asyncio.shield(reading)
        except (asyncio.CancelledError, Silent):
            call.cancel()
            done, _ = await asyncio.wait([reading], timeout=_LAST_WORDS_S)
            for ended in done:
                if not ended.cancelled():
                    ended.exception()  # seen, so that asyncio does not log it
            raise
        return None if message is grpc.aio.EOF else message  # type: ignore[return-value]

    def is_of_this_loop(self) -> bool:
        """Whether it was opened in the event loop that runs now."""
        return self._loop is asyncio.get_running_loop()

    async def close(self) -> None:
        """Close the connection and cancel its calls."""
        self._forget()
        self._stop_watching()
        if self._question:
            self._question.cancel()
            await asyncio.wait([self._question])
        await self._channel.close()
        await asyncio.sleep(_LAST_WORDS_S)

    def begin(self, call: grpc.aio.Call) -> None:
        """Note that somebody waits for a call."""
        if not self._waited_for:
            self._heard_at = self._loop.time()
            self._look_in(self._half_s)
        self._waited_for.add(call)

    def end(self, call: grpc.aio.Call, *, heard: bool) -> None:
        """Note that nobody waits for a call any more, and whether the service was heard."""
        self._waited_for.discard(call)
        if heard:
            self._heard_at = self._loop.time()
        if not self._waited_for:
            self._stop_watching()

    def _look_in(self, seconds: float) -> None:
        self._stop_watching()
        self._timer = self._loop.call_later(seconds, self._look)

    def _stop_watching(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        quiet_s = self._loop.time() - self._heard_at
        if quiet_s < self._half_s:
            self._look_in(self._half_s - quiet_s)
        elif self._question is None or self._question.done():
            self._question = self._loop.create_task(self._ask(), name="is the service there?")

    async def _ask(self) -> None:
        code = await self._ask_once()
        if code is grpc.StatusCode.UNIMPLEMENTED and self._by_health:
            self._by_health = False  # a proxy that passes on only what it knows
            code = await self._ask_once()
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            self.silent = True
            for call in list(self._waited_for):
                call.cancel()
            return
        # Any answer is one. That the connection is lost, the calls see for themselves.
        self._heard_at = self._loop.time()
        if self._waited_for:
            self._look_in(self._half_s)

    async def _ask_once(self) -> grpc.StatusCode:
        """Ask; return the code of the answer."""
        call: Any
        if self._by_health:
            # The bare bytes, as it takes no generated code to ask.
            health = self._channel.unary_unary(_HEALTH_CHECK)  # type: ignore[var-annotated]
            call = health(_EMPTY, timeout=self._half_s, metadata=self._target.metadata())
        else:
            request = ListCamerasRequest()
            call = self.stub.ListCameras(
                request, timeout=self._half_s, metadata=self._target.metadata()
            )
        code: grpc.StatusCode = await call.code()
        return code


class _Waiting(Generic[Q, R]):
    """While somebody waits for a call: makes the watch's cancelling of it a `Silent`."""

    def __init__(self, line: Line, call: grpc.aio.Call) -> None:
        self._line = line
        self._call = call

    def __enter__(self) -> None:
        if self._line.silent:
            self._call.cancel()
            raise Silent
        self._line.begin(self._call)

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._line.end(self._call, heard=kind is None)
        if kind is None or not issubclass(kind, asyncio.CancelledError):
            return
        task = asyncio.current_task()
        if self._line.silent and not (task and task.cancelling()):
            raise Silent from None


class Lines:
    """The line in use: opened when first needed, and anew after it has fallen silent."""

    def __init__(self, target: Target, silence_s: float, *, live_view: bool = False) -> None:
        self.target = target
        self.silence_s = silence_s
        self._live_view = live_view
        self._line: Line | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    def get(self) -> Line:
        """Return the line to make a call by.

        Raises:
            RuntimeError: the client has been closed, or was first used in another event loop.
        """
        if self._closed:
            raise RuntimeError("the client is closed")
        if self._line and not self._line.is_of_this_loop():
            raise RuntimeError("the client was used in another event loop: make one for each")
        if self._line and self._line.silent:
            task = asyncio.get_running_loop().create_task(self._line.close(), name="close a line")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            self._line = None
        if self._line is None:
            self._line = Line(self.target, self.silence_s, live_view=self._live_view)
        return self._line

    async def close(self) -> None:
        """Close what is open."""
        self._closed = True
        if self._line:
            await self._line.close()
            self._line = None
        if self._closing:
            await asyncio.wait(self._closing)
