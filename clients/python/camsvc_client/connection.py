"""The connection to the service: one channel, which is replaced when the service falls silent."""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from typing import ClassVar, TypeVar

import grpc
from camapi.v1.camera_service_pb2 import ListCamerasRequest
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub
from google.protobuf.message import Message

from camsvc_client.target import Target
from camsvc_client.watchdog import ServiceSilent, Watchdog

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

_BytesCall = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
_HEALTH_CHECK = "/grpc.health.v1.Health/Check"
_EMPTY = b""
"""A HealthCheckRequest for the service as a whole, serialised."""

_LINGER_S = 0.05
"""gRPC reports the end of calls to an event loop some time after they were cancelled. When the loop
is closed by then, gRPC complains on stderr, through whatever other loop there is."""


def check_process(opened_in: int) -> None:
    """Check that calls can end here, in a process in which something was opened (by its id).

    Raises:
        RuntimeError: this is a fork of it, in which gRPC and threads would hang or crash; or
            gevent or eventlet has replaced threads and sockets, with which gRPC hangs, too.
    """
    for name, is_patched in (
        ("gevent", getattr(sys.modules.get("gevent.monkey"), "is_module_patched", None)),
        ("eventlet", getattr(sys.modules.get("eventlet.patcher"), "is_monkey_patched", None)),
    ):
        if is_patched and any(map(is_patched, ("_thread", "thread", "socket", "select"))):
            raise RuntimeError(
                f"this process is patched by {name}, under which gRPC's calls never end: use the "
                "client in a process of its own, or patch neither thread, socket nor select"
            )
    if os.getpid() != opened_in:
        raise RuntimeError(
            "this process was forked while a client was open, which gRPC does not survive: start "
            'processes by "spawn", or close the client before'
        )


class Connection:
    """One channel, and the watchdog of its calls. Belongs to the event loop it was opened in."""

    _open: ClassVar[dict[int, int]] = {}
    """By the id of each open connection, in which process it was opened."""

    def __init__(self, target: Target, silence_s: float, *, live_view: bool = False) -> None:
        for process in list(Connection._open.values()):
            check_process(process)
        check_process(os.getpid())
        Connection._open[id(self)] = os.getpid()
        self._forget = weakref.finalize(self, Connection._open.pop, id(self), None)
        self._forget.atexit = False
        self._target = target
        self.loop = asyncio.get_running_loop()
        self._channel = target.open(live_view=live_view)
        self._has_health = True
        self.watchdog = Watchdog(silence_s, self._probe, self._probe_anew)
        self.stub = CameraServiceStub(self._channel)

    async def answer(self, call: grpc.aio.UnaryUnaryCall[Q, R]) -> R:
        """Wait for a call's answer.

        Raises:
            ServiceSilent: the service has fallen silent; the call is cancelled.
            grpc.aio.AioRpcError: the call failed.
        """
        with self.watchdog.watching(call):
            return await call

    async def begun(self, call: grpc.aio.UnaryStreamCall[Q, R]) -> bool:
        """Wait until a stream begins, or ends at once; return whether it has begun.

        Raises as `answer` does.
        """
        with self.watchdog.watching(call):
            await call.initial_metadata()
            await call.wait_for_connection()  # raises what it has ended with
        return not call.done()

    async def read(self, call: grpc.aio.UnaryStreamCall[Q, R]) -> R | None:
        """Wait for a stream's next message; None: it has ended. Raises as `answer` does."""
        reading = asyncio.ensure_future(call.read())
        try:
            with self.watchdog.watching(call):
                message = await asyncio.shield(reading)
        except (asyncio.CancelledError, ServiceSilent):
            call.cancel()
            done, _ = await asyncio.wait([reading], timeout=_LINGER_S)
            for ended in done:
                if not ended.cancelled():
                    ended.exception()  # retrieved, so that asyncio does not log it
            raise
        return None if message is grpc.aio.EOF else message  # type: ignore[return-value]

    async def close(self) -> None:
        """Close the channel and cancel its calls."""
        self._forget()
        await self.watchdog.close()
        await self._channel.close()
        await asyncio.sleep(_LINGER_S)

    async def _probe(self, timeout_s: float) -> bool:
        """Ask the service; return whether it answers. An error is an answer, too.

        Whether the connection is lost, the calls notice by themselves.
        """
        return await self._answers(self._channel, timeout_s)

    async def _probe_anew(self, timeout_s: float) -> bool:
        """Do so over a connection of its own."""
        channel = self._target.open()
        try:
            return await self._answers(channel, timeout_s)
        finally:
            await channel.close()

    async def _answers(self, channel: grpc.aio.Channel, timeout_s: float) -> bool:
        metadata = self._target.metadata()
        if self._has_health:
            # The bare bytes: the health service's generated code is another package.
            health: _BytesCall = channel.unary_unary(_HEALTH_CHECK)
            code = await health(_EMPTY, timeout=timeout_s, metadata=metadata).code()
            # A proxy may pass on only what it knows.
            self._has_health = code is not grpc.StatusCode.UNIMPLEMENTED
        if not self._has_health:
            cameras = CameraServiceStub(channel).ListCameras
            code = await cameras(ListCamerasRequest(), timeout=timeout_s, metadata=metadata).code()
        return code is not grpc.StatusCode.DEADLINE_EXCEEDED


class ConnectionPool:
    """The connection in use: opened when first needed, replaced after the service fell silent."""

    def __init__(self, target: Target, silence_s: float, *, live_view: bool = False) -> None:
        self.target = target
        self.silence_s = silence_s
        self._live_view = live_view
        self._connection: Connection | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    def get(self) -> Connection:
        """Return the connection to make a call on.

        Raises:
            RuntimeError: the client is closed, or was first used in another event loop.
        """
        if self._closed:
            raise RuntimeError("the client is closed")
        current = self._connection
        if current and current.loop is not asyncio.get_running_loop():
            raise RuntimeError("the client was used in another event loop: make one for each")
        if current and current.watchdog.silent:
            task = asyncio.create_task(current.close(), name="close connection")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            current = None
        if current is None:
            current = Connection(self.target, self.silence_s, live_view=self._live_view)
            self._connection = current
        return current

    async def close(self) -> None:
        """Close what is open."""
        self._closed = True
        if self._connection:
            await self._connection.close()
            self._connection = None
        if self._closing:
            await asyncio.wait(self._closing)
