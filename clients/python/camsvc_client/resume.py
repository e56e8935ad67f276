"""Streams that outlive their connection: what live view and events have in common."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from camsvc_client.calls import Caller
from camsvc_client.connection import Silent
from camsvc_client.errors import CameraUnavailable, CamsvcError, QueueFull, ServiceUnreachable
from camsvc_client.retry import Pause, Repeat

if TYPE_CHECKING:
    from camapi.v1.camera_service_pb2_grpc import CameraServiceAsyncStub as Stub

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

_log = logging.getLogger("camsvc_client")


class Following(Generic[Q, R]):
    """One endless stream, connected again and again.

    `request` is asked before each connection, so that it can say where to go on.
    """

    def __init__(
        self,
        caller: Caller,
        method: Callable[[Stub], grpc.aio.UnaryStreamMultiCallable[Q, R]],
        request: Callable[[], Q],
    ) -> None:
        self._caller = caller
        self._method = method
        self._request = request
        self._connected_once = False
        self._lost = False

    async def messages(self) -> AsyncGenerator[R | CamsvcError | None, None]:
        """Yield what comes; None when a connection has begun; an error whenever it is lost.

        Raises:
            CamsvcError: the service refused, so that trying again would not help, or could not be
                reached for long enough at the first.
        """
        patience = self._caller.patience(Repeat.LOST | Repeat.UNAVAILABLE, None)
        pause = Pause()
        while True:
            request = self._request()
            begun = False
            try:
                async with aclosing(self._connection(request)) as connection:
                    async for message in connection:
                        begun = True
                        if message is not None:
                            self._is_back()
                            pause = Pause()
                        yield message
                raised: Exception | None = None
                error: CamsvcError = self._caller.unreachable("has ended the stream")
            except (grpc.aio.AioRpcError, Silent) as caught:
                raised, error = caught, self._caller.error(caught, request)
            if begun and isinstance(error, ServiceUnreachable):
                self._connected_once = True  # and quiet: a refusal, too, may look like a beginning
            if not self._connected_once:
                wait = patience.wait_s(error)
            elif isinstance(error, ServiceUnreachable):
                wait = pause.next_s()
            else:
                wait = error.retry_after_s if _passes(error) else None
            if wait is None:
                raise error from raised
            self._is_lost(error)
            yield error
            await asyncio.sleep(wait)

    async def _connection(self, request: Q) -> AsyncGenerator[R | None, None]:
        line = self._caller.lines.get()
        metadata = self._caller.lines.target.metadata()
        call = self._method(line.stub)(request, metadata=metadata)
        try:
            if await line.begun(call):
                yield None
            while (message := await line.read(call)) is not None:
                yield message
        finally:
            call.cancel()

    def _is_lost(self, error: CamsvcError) -> None:
        if not self._lost:
            self._lost = True
            _log.warning("%s; trying again", error)

    def _is_back(self) -> None:
        self._connected_once = True
        if self._lost:
            self._lost = False
            _log.info("the camera service at %s is back", self._caller.lines.target.address)


def _passes(error: CamsvcError) -> bool:
    """Whether a refusal is one that passes: the service stops, or its viewers have not left yet."""
    return isinstance(error, QueueFull | CameraUnavailable)
