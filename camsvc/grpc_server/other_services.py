"""Health and reflection, which gRPC brings, within the same limits as the contract's own calls."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import grpc

from camsvc.api.service import DESCRIPTOR
from camsvc.grpc_server.admission import Admission
from camsvc.grpc_server.connections import caller_of
from camsvc.model.errors import CameraServiceError

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any

_MAX_REQUEST_BYTES = 1024
"""Much more than any name asked for; a watcher's request stays for as long as it watches."""


class OtherServices(grpc.aio.ServerInterceptor):
    """Lets in calls of services that know nothing of who calls."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the handler of a call, which asks for admission where it does not by itself."""
        handler = await continuation(handler_call_details)
        own = handler_call_details.method.startswith(f"/{DESCRIPTOR.full_name}/")
        # None: the method is unknown, whatever the types say.
        if own or handler is None:
            return handler
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(handler.unary_unary),
                handler.request_deserializer,
                handler.response_serializer,
            )
        make = grpc.unary_stream_rpc_method_handler
        if handler.request_streaming:
            make = grpc.stream_stream_rpc_method_handler
        return make(
            self._streaming(handler.unary_stream or handler.stream_stream),
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _unary(self, behaviour: Any) -> Any:
        async def handle(request: Any, context: Context) -> Any:
            try:
                async with self._admission.admitted(caller_of(context.peer())):
                    return await behaviour(request, context)
            except CameraServiceError as error:
                await _refuse(error, context)

        return handle

    def _streaming(self, behaviour: Any) -> Any:
        async def handle(request: Any, context: Context) -> AsyncIterator[Any]:
            if getattr(request, "ByteSize", int)() > _MAX_REQUEST_BYTES:
                await context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"the request has more than {_MAX_REQUEST_BYTES} bytes, which is the limit",
                )
            try:
                async with self._admission.admitted(caller_of(context.peer())):
                    async for reply in behaviour(request, context):
                        yield reply
            except CameraServiceError as error:
                await _refuse(error, context)

        return handle


async def _refuse(error: CameraServiceError, context: Context) -> NoReturn:
    await context.abort(grpc.StatusCode[error.code], error.message)
