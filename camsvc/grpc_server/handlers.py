"""The contract's methods as gRPC handlers, made from the service's descriptor.

For gRPC all are streams of requests, which looks the same to clients: so the request is read here,
within a time and a size, and what is wrong with it is answered like everything else.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from camsvc.api.errors import call_error
from camsvc.api.service import Replies, Reply
from camsvc.grpc_server.admission import Admission
from camsvc.grpc_server.connections import caller_of
from camsvc.grpc_server.untaken import Untaken
from camsvc.grpc_server.write_limit import write_limit
from camsvc.model.caller import Caller
from camsvc.model.errors import InvalidRequest

Context = grpc.aio.ServicerContext[Any, Any]
UnaryMethod = Callable[[Any, Caller, float | None], Awaitable[Reply]]
StreamingMethod = Callable[[Any, Caller], AbstractAsyncContextManager[Replies]]

MAX_REQUEST_BYTES = 2**20
"""Some seven times the largest valid one; of a group, each camera's share."""

_REQUEST_S = 20.0
"""How long a request may be on its way: what has arrived of it is kept in memory."""

_MAX_STREAM_REQUEST_BYTES = 64 * 2**10
"""Larger than any valid one of a stream, which may keep it for days."""


def handlers_of(
    service: object,
    descriptor: ServiceDescriptor,
    *,
    admission: Admission,
    untaken: Untaken,
    write_timeouts_s: Mapping[str, float],
) -> grpc.GenericRpcHandler:
    """Return the handlers of a service: of `GetCamera`, for one, its method `get_camera`.

    A method that the service lacks has no handler: gRPC answers it with UNIMPLEMENTED. Streams of
    the methods in `write_timeouts_s` end when their client takes no message for so many seconds.
    """
    handlers = {
        method.name: _handler(
            method, implementation, admission, untaken, write_timeouts_s.get(method.name)
        )
        for method in descriptor.methods
        if (implementation := getattr(service, snake_case(method.name), None)) is not None
    }
    return grpc.method_handlers_generic_handler(descriptor.full_name, handlers)


def snake_case(name: str) -> str:
    """Return the name of a method in Python, such as `get_camera`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _handler(
    method: MethodDescriptor,
    implementation: Any,
    admission: Admission,
    untaken: Untaken,
    write_timeout_s: float | None,
) -> "grpc.RpcMethodHandler[Any, Any]":
    kind = GetMessageClass(method.input_type)
    if method.server_streaming:
        return grpc.stream_stream_rpc_method_handler(
            _streaming(implementation, kind, admission, untaken, write_timeout_s)
        )
    return grpc.stream_unary_rpc_method_handler(_unary(implementation, kind, admission, untaken))


def _unary(
    method: UnaryMethod, kind: type[Message], admission: Admission, untaken: Untaken
) -> Callable[[object, Context], Awaitable[bytes]]:
    async def handle(_: object, context: Context) -> bytes:
        request, caller = kind(), caller_of(context.peer())
        try:
            async with admission.admitted(caller):
                await _receive(request, context)
                reply = _serialized(await method(request, caller, context.time_remaining()))
                with contextlib.ExitStack() as stack:
                    untaken.add(stack.enter_context(untaken.sending(caller)), len(reply))
                    # It is sent after the handler's end, and taken at the call's.
                    sending = stack.pop_all()
                context.add_done_callback(lambda _: sending.close())  # type: ignore[arg-type]
                return reply
        except Exception as error:
            await _abort(error, request, context)

    return handle


def _streaming(
    method: StreamingMethod,
    kind: type[Message],
    admission: Admission,
    untaken: Untaken,
    write_timeout_s: float | None,
) -> Callable[[object, Context], Awaitable[None]]:
    async def handle(_: object, context: Context) -> None:
        request, caller = kind(), caller_of(context.peer())
        try:
            with untaken.sending(caller) as sending:
                async with admission.admitted(caller):
                    await _receive(request, context, _MAX_STREAM_REQUEST_BYTES)
                    async with method(request, caller) as replies:
                        # At once, so that the client knows that it misses nothing from here on.
                        await context.send_initial_metadata(())
                        async with write_limit(write_timeout_s) as writing:
                            async for reply in replies:
                                message = _serialized(reply)
                                untaken.add(sending, len(message))
                                with writing:
                                    await context.write(message)
                                untaken.taken(sending)
        except Exception as error:
            await _abort(error, request, context)

    return handle


async def _receive(request: Message, context: Context, most_bytes: int = MAX_REQUEST_BYTES) -> None:
    """Read the request of a call into a message.

    Raises:
        InvalidRequest: it does not come, is too large, or is no such message.
    """
    try:
        async with asyncio.timeout(_REQUEST_S):
            data = await context.read()
    except TimeoutError:
        raise InvalidRequest("request", f"it has not arrived within {_REQUEST_S:g} s") from None
    if not isinstance(data, bytes):
        raise InvalidRequest("request", "it is missing; allowed: one message")
    if len(data) > most_bytes:
        raise InvalidRequest("request", f"{len(data)} bytes; allowed: up to {most_bytes}")
    try:
        request.ParseFromString(data)
    except DecodeError:
        name = request.DESCRIPTOR.name
        raise InvalidRequest("request", f"its bytes are no message; allowed: a {name}") from None


def _serialized(reply: Reply) -> bytes:
    return reply if isinstance(reply, bytes) else reply.SerializeToString()


async def _abort(error: Exception, request: Message, context: Context) -> NoReturn:
    """End a call with the status of what it raised."""
    if isinstance(error, grpc.aio.BaseError):  # gRPC's own, of a call that has ended
        raise error
    rich, pushback_ms = call_error(error, request, context.time_remaining())
    status = rpc_status.to_status(rich)
    trailers = [*(status.trailing_metadata or ())]
    if pushback_ms is not None:
        trailers.append(("grpc-retry-pushback-ms", str(pushback_ms)))
    await context.abort(status.code, status.details, tuple(trailers))
