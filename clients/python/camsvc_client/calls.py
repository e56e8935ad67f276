"""One call, with its attempts: the only place where a unary call is made again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, TypeVar

import grpc
from google.protobuf.message import Message

from camsvc_client.channel import RpcErrorInfo, error_info
from camsvc_client.connection import ConnectionPool
from camsvc_client.errors import (
    CamsvcError,
    CaptureTimeout,
    DeadlineExceeded,
    ServiceUnreachable,
    from_info,
)
from camsvc_client.retry import OnRetry, Retry, RetryOn, RetrySchedule
from camsvc_client.watchdog import ServiceSilent

if TYPE_CHECKING:
    from camapi.v1.camera_service_pb2_grpc import CameraServiceAsyncStub as Stub

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

Unary = Callable[["Stub"], grpc.aio.UnaryUnaryMultiCallable[Q, R]]
Streaming = Callable[["Stub"], grpc.aio.UnaryStreamMultiCallable[Q, R]]
"""They pick a method of the stub."""


class Caller:
    """Makes calls on the connection in use."""

    def __init__(
        self, connections: ConnectionPool, retry: Retry, on_retry: OnRetry | None = None
    ) -> None:
        self.connections = connections
        self.retry = retry
        self.on_retry = on_retry

    def schedule(
        self,
        request: type[Message],
        timeout: float | None = None,
        retry_on: RetryOn = RetryOn.ALL,
        *,
        retry: Retry | None = None,
    ) -> RetrySchedule:
        """Return when a call with such a request is made again."""
        call = request.__name__.removesuffix("Request")
        return RetrySchedule(
            retry or self.retry, timeout, retry_on, call=call, on_retry=self.on_retry
        )

    async def call(
        self,
        method: Unary[Q, R],
        request: Q,
        *,
        timeout: float | None,
        retry_on: RetryOn = RetryOn.ALL,
        request_id: str | None = None,
    ) -> R:
        """Make a call, again where that helps, until its time-out in seconds.

        A service that cannot be reached is tried again, also when only its connection has fallen
        silent; one that is silent itself is not, as nobody can say when or whether it continues.

        Raises:
            CamsvcError: what the last attempt ended with.
        """
        schedule = self.schedule(type(request), timeout, retry_on)
        refusal: CamsvcError | None = None
        while True:
            try:
                connection = self.connections.get()
                left_s, metadata = schedule.time_left_s(), self.connections.target.metadata()
                attempt = method(connection.stub)(request, timeout=left_s, metadata=metadata)
                return await connection.answer(attempt)
            except (grpc.aio.AioRpcError, ServiceSilent) as raised:
                error = self.error(raised, request, timeout, request_id)
                # The service, too, watches the call's deadline, and may be the first to see it.
                its_deadline = isinstance(error, CaptureTimeout) and schedule.is_over()
                if its_deadline or isinstance(error, DeadlineExceeded):
                    error = _out_of_time(request, timeout, request_id, refusal)
                frozen = isinstance(raised, ServiceSilent) and not raised.answers_anew
                wait = None if frozen else schedule.wait_s(error)
                if wait is None:
                    raise error from raised
                refusal = error
            await asyncio.sleep(wait)

    async def messages(
        self, method: Streaming[Q, R], request: Q, timeout: float | None = None
    ) -> AsyncGenerator[R | None, None]:
        """Yield None when a stream has begun, then its messages; one attempt.

        Raises:
            grpc.aio.AioRpcError, ServiceSilent: as `Connection.read`.
        """
        connection = self.connections.get()
        metadata = self.connections.target.metadata()
        call = method(connection.stub)(request, timeout=timeout, metadata=metadata)
        try:
            if await connection.begun(call):
                yield None
            while (message := await connection.read(call)) is not None:
                yield message
        finally:
            call.cancel()

    def error(
        self,
        raised: grpc.aio.AioRpcError | ServiceSilent,
        request: Message,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> CamsvcError:
        """Return the exception for the way an attempt ended, with a text for people."""
        if isinstance(raised, ServiceSilent):
            silence_s = self.connections.silence_s
            return self.unreachable(
                f"does not answer: nothing was received for {silence_s:g} s", request_id
            )
        error = from_info(error_info(raised), request_id=request_id)
        if isinstance(error, ServiceUnreachable):
            return self.unreachable(f"cannot be reached: {_cause(str(error))}", request_id)
        if isinstance(error, DeadlineExceeded):
            return _out_of_time(request, timeout, request_id)
        return error

    def unreachable(self, what: str, request_id: str | None = None) -> ServiceUnreachable:
        """Return the exception for a service of which `what` is true."""
        text = f"the camera service at {self.connections.target.address} {what}"
        return ServiceUnreachable(RpcErrorInfo(grpc.StatusCode.UNAVAILABLE, None, text), request_id)


def _out_of_time(
    request: Message,
    timeout: float | None,
    request_id: str | None,
    refusal: CamsvcError | None = None,
) -> DeadlineExceeded:
    """Return the exception for a call that took too long; `refusal` is what it met on the way."""
    name = type(request).__name__.removesuffix("Request")
    within = "in time" if timeout is None else f"within {timeout:.3g} s"
    text = f"{name} had no answer {within}" + (f"; before that: {refusal}" if refusal else "")
    return DeadlineExceeded(RpcErrorInfo(grpc.StatusCode.DEADLINE_EXCEEDED, None, text), request_id)


def _cause(details: str) -> str:
    """Return what matters to a person in what gRPC says of a connection."""
    if "Socket closed" in details or "reset by peer" in details or not details:
        return "the connection was lost"
    if "handshake failed" in details:
        found = re.search(r"OPENSSL_internal:(\w+)", details)
        why = f": {found[1].replace('_', ' ').lower()}" if found else ""
        return f"no encryption could be agreed on{why}"
    return details.rsplit(": ", 1)[-1].strip(" ]")
