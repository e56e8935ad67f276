"""Errors made into gRPC statuses: here, and nowhere else."""

import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from camsvc.model import errors

_log = structlog.get_logger()

_PUSHBACK = "grpc-retry-pushback-ms"
_NEVER = "-1"
_MAX_CAMERA_ID = 63

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Callable[[Any, Context], Awaitable[Any]]
StreamHandler = Callable[[Any, Context], AsyncGenerator[Any, None]]


def status_of(error: errors.CameraServiceError) -> status_pb2.Status:
    """Return the rich status of an error: ErrorInfo always, RetryInfo and BadRequest if any."""
    info = error_details_pb2.ErrorInfo(
        reason=error.reason, domain=errors.DOMAIN, metadata=error.metadata
    )
    details: list[Message] = [info]
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_after_s * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, errors.InvalidRequest):
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
            for v in error.violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    status = status_pb2.Status(
        code=getattr(grpc.StatusCode, error.code).value[0], message=error.message
    )
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail, deterministic=True)  # the same error always reads the same
        status.details.append(packed)
    return status


def pushback(error: errors.CameraServiceError, time_remaining_s: float | None) -> str | None:
    """Return what `grpc-retry-pushback-ms` is to say; None: nothing.

    Negative, which is "never", when the wait does not fit the call's deadline: gRPC clients would
    sit it out and then report DEADLINE_EXCEEDED, and who holds the camera would be lost.
    """
    if error.code not in ("RESOURCE_EXHAUSTED", "UNAVAILABLE"):
        return None
    if error.retry_after_s is None:
        return _NEVER
    if time_remaining_s is not None and error.retry_after_s >= time_remaining_s:
        return _NEVER
    return str(math.ceil(error.retry_after_s * 1000))


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Ends a call whose handler raised with that error's status; takes answers in bytes."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler that is about to be called."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if handler.unary_unary is not None:
            wrapped = handler._replace(unary_unary=_answering(handler.unary_unary))
        elif handler.unary_stream is not None:
            wrapped = handler._replace(unary_stream=_streaming(handler.unary_stream))
        else:
            return handler  # reflection's
        return wrapped._replace(response_serializer=_serialised)


def _serialised(response: Message | bytes) -> bytes:
    """Let handlers answer in bytes that they have serialised themselves."""
    return response if isinstance(response, bytes) else response.SerializeToString()


def _answering(handler: Handler) -> Handler:
    async def answer(request: Any, context: Context) -> Any:
        async with _errors_as_status(request, context):
            return await handler(request, context)

    return answer


def _streaming(handler: StreamHandler) -> StreamHandler:
    async def stream(request: Any, context: Context) -> AsyncGenerator[Any, None]:
        # Closed at once when the client leaves, not when the garbage collector comes by.
        async with (
            _errors_as_status(request, context),
            contextlib.aclosing(handler(request, context)) as responses,
        ):
            async for response in responses:
                yield response

    return stream


@contextlib.asynccontextmanager
async def _errors_as_status(request: Any, context: Context) -> AsyncIterator[None]:
    try:
        yield
    except errors.CameraServiceError as error:
        camera = getattr(request, "camera", "")
        if 0 < len(camera) <= _MAX_CAMERA_ID:
            error.metadata.setdefault("camera", camera)
        await _abort(error, context)
    except grpc.aio.AbortError:
        raise
    except NotImplementedError:  # of the generated base
        name = type(request).__name__.removesuffix("Request")
        await context.abort(
            grpc.StatusCode.UNIMPLEMENTED, f"{name} is not implemented in this version"
        )
    except Exception:
        _log.exception("call failed in an unforeseen way", request=type(request).__name__)
        await context.abort(grpc.StatusCode.INTERNAL, "internal error, see the service's log")


async def _abort(error: errors.CameraServiceError, context: Context) -> None:
    rich = rpc_status.to_status(status_of(error))
    trailers = list(rich.trailing_metadata or ())
    wait = pushback(error, context.time_remaining())
    if wait is not None:
        trailers.append((_PUSHBACK, wait))
    await context.abort(rich.code, rich.details, tuple(trailers))
