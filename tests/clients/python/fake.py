"""A service that answers as a test wants it, for what the real one never says."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import (
    CameraServiceServicer,
    add_CameraServiceServicer_to_server,
)

Context = grpc.aio.ServicerContext[Any, Any]
Answer = Callable[[Any, Context], Awaitable[Any]]
Stream = Callable[[Any, Context], AsyncIterator[Any]]


@contextlib.asynccontextmanager
async def served(
    credentials: grpc.ServerCredentials | None = None,
    at: str = "127.0.0.1:0",
    **methods: Answer | Stream,
) -> AsyncIterator[str]:
    """Serve the methods given, by name; the others are unimplemented. Gives the address."""
    servicer = CameraServiceServicer()  # type: ignore[abstract]
    for name, method in methods.items():
        setattr(servicer, name, method)
    server = grpc.aio.server()
    add_CameraServiceServicer_to_server(servicer, server)
    port = server.add_secure_port(at, credentials) if credentials else server.add_insecure_port(at)
    await server.start()
    try:
        yield f"{at.rpartition(':')[0]}:{port}"
    finally:
        await server.stop(None)


async def no_cameras(request: api.ListCamerasRequest, context: Context) -> api.ListCamerasResponse:
    """Answer ListCameras: there are none."""
    return api.ListCamerasResponse()
