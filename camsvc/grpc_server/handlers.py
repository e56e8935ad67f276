"""The contract's methods as gRPC handlers, made from the service's descriptor."""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from camsvc.api.errors import call_error
from camsvc.api.service import Replies, Reply
from camsvc.grpc_server.rate_limit import RateLimit
from camsvc.grpc_server.write_limit import write_limit

Context = grpc.aio.ServicerContext[Any, Any]
UnaryMethod = Callable[[Any, float | None], Awaitable[Reply]]
StreamingMethod = Callable[[Any], AbstractAsyncContextManager[Replies]]


def handlers_of(
    service: object,
    descriptor: ServiceDescriptor,
    *,
    rate_limit: RateLimit,
    write_timeouts_s: Mapping[str, float],
) -> grpc.GenericRpcHandler:
    """Return the handlers of a service: of `GetCamera`, for one, its method `get_camera`.

    A method that the service lacks has no handler: gRPC answers it with UNIMPLEMENTED. Streams of
    the methods in `write_timeouts_s` end when their client takes no message for so many seconds.
    """
    handlers = {
        method.name: _handler(method, implementation, rate_limit, write_timeouts_s.get(method.name))
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
    rate_limit: RateLimit,
    write_timeout_s: float | None,
) -> "grpc.RpcMethodHandler[Any, Any]":
    deserializer = GetMessageClass(method.input_type).FromString
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(
            _streaming(implementation, rate_limit, write_timeout_s), deserializer, _serialize
        )
    return grpc.unary_unary_rpc_method_handler(
        _unary(implementation, rate_limit), deserializer, _serialize
    )


def _unary(
    method: UnaryMethod, rate_limit: RateLimit
) -> Callable[[Message, Context], Awaitable[Reply]]:
    async def handle(request: Message, context: Context) -> Reply:
        try:
            rate_limit.take(context.peer(), time.monotonic())
            return await method(request, context.time_remaining())
        except Exception as error:
            await _abort(error, request, context)

    return handle


def _streaming(
    method: StreamingMethod, rate_limit: RateLimit, write_timeout_s: float | None
) -> Callable[[Message, Context], Awaitable[None]]:
    async def handle(request: Message, context: Context) -> None:
        try:
            rate_limit.take(context.peer(), time.monotonic())
            async with method(request) as replies:
                # At once, so that the client knows that it misses nothing from here on.
                await context.send_initial_metadata(())
                async with write_limit(write_timeout_s) as writing:
                    async for reply in replies:
                        with writing:
                            await context.write(reply)
        except Exception as error:
            await _abort(error, request, context)

    return handle


def _serialize(reply: Reply) -> bytes:
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
