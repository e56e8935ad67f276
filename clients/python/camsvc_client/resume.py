"""Streams that go on after their connection was lost: what live view and events have in common."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from camsvc_client.calls import Caller
from camsvc_client.errors import CamsvcError, ServiceUnreachable
from camsvc_client.retry import FOR_EVER, RetryOn
from camsvc_client.watchdog import ServiceSilent

if TYPE_CHECKING:
    from camapi.v1.camera_service_pb2_grpc import CameraServiceAsyncStub as Stub

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

_log = logging.getLogger("camsvc_client")


class ResumingStream(Generic[Q, R]):
    """One endless stream, connected again and again.

    `request` is called before each connection, so that it can say where to go on.
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
        self._lost = False

    async def messages(self) -> AsyncGenerator[R | CamsvcError | None, None]:
        """Yield what comes; None when a connection has begun; an error whenever it is lost.

        Raises:
            CamsvcError: the service refused, so that trying again would not help, or it could not
                be reached, or had no room, for too long before the stream was connected once.
        """
        schedule = self._caller.schedule(RetryOn.ALL, None)
        for_ever = self._caller.schedule(RetryOn.ALL, None, FOR_EVER)
        while True:
            request = self._request()
            begun = False
            try:
                async with aclosing(self._connection(request)) as connection:
                    async for message in connection:
                        begun = True
                        if message is not None:
                            schedule = for_ever
                            schedule.reset()
                            self._is_back()
                        yield message
                raised: Exception | None = None
                error: CamsvcError = self._caller.unreachable("has ended the stream")
            except (grpc.aio.AioRpcError, ServiceSilent) as caught:
                raised, error = caught, self._caller.error(caught, request)
            if begun and isinstance(error, ServiceUnreachable):
                schedule = for_ever  # connected, though nothing came; a refusal may begin so, too
            wait = schedule.wait_s(error)
            if wait is None:
                raise error from raised
            self._is_lost(error)
            yield error
            await asyncio.sleep(wait)

    async def _connection(self, request: Q) -> AsyncGenerator[R | None, None]:
        connection = self._caller.connections.get()
        metadata = self._caller.connections.target.metadata()
        call = self._method(connection.stub)(request, metadata=metadata)
        try:
            if await connection.begun(call):
                yield None
            while (message := await connection.read(call)) is not None:
                yield message
        finally:
            call.cancel()

    def _is_lost(self, error: CamsvcError) -> None:
        if not self._lost:
            self._lost = True
            _log.warning("%s; trying again", error)

    def _is_back(self) -> None:
        if self._lost:
            self._lost = False
            _log.info("the camera service at %s is back", self._caller.connections.target.address)
