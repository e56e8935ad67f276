"""grpc.health.v1, of the service, of each camera, and of the disk.

Not the servicer that grpcio-health-checking has for asyncio: with that one (1.81), a watcher that
leaves takes the others' updates with it, one that does not read holds up every change, and a stop
waits for the watchers until its grace is over.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from camsvc.api.service import DESCRIPTOR
from camsvc.camera.observer import CameraObserver
from camsvc.model import health as camera_health
from camsvc.model.errors import short, some_of
from camsvc.model.lifecycle import State

Context = grpc.aio.ServicerContext[Any, Any]
Response = health_pb2.HealthCheckResponse

_STORAGE = "storage"
"""Of its own: a disk that keeps no picture is no reason to start the service again."""

_NOT_SERVING = (State.AWAY, State.RECOVERING, State.FAULTED)


class Health(CameraObserver, health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # no types
    """Reports what serves. A slow watcher misses changes that were undone before it read them."""

    def __init__(self, cameras: Iterable[str]) -> None:
        names = ("", DESCRIPTOR.full_name, _STORAGE, *map(_name, cameras))
        self._statuses: dict[str, int] = dict.fromkeys(names, Response.SERVING)
        self._states: dict[str, State] = {}
        self._healths: dict[str, camera_health.Health] = {}
        self._stopping = False
        self._changed = asyncio.Event()

    def on_state_changed(self, camera: str, state: State) -> None:
        self._states[camera] = state
        self._update(camera)

    def on_health_changed(self, camera: str, health: camera_health.Health) -> None:
        self._healths[camera] = health
        self._update(camera)

    def set_storage(self, available: bool) -> None:
        """Note whether pictures can be kept."""
        self._set(_STORAGE, available)

    def _update(self, camera: str) -> None:
        is_critical = self._healths.get(camera) is camera_health.Health.CRITICAL
        self._set(_name(camera), self._states.get(camera) not in _NOT_SERVING and not is_critical)

    def stop(self) -> None:
        """Report that nothing serves any more, and end the watching."""
        self._statuses = dict.fromkeys(self._statuses, Response.NOT_SERVING)
        self._stopping = True
        self._wake()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Return the present status of a name."""
        if request.service not in self._statuses:
            known = some_of([repr(name) for name in self._statuses])
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"no health is reported for {short(request.service)}; allowed: {known}",
            )
        return Response(status=self._statuses[request.service])

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Yield the present status of a name, and each change of it."""
        last = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, Response.SERVICE_UNKNOWN)
            if status != last:
                last = status
                yield Response(status=status)
            elif self._stopping:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the service stops")
            else:
                await changed.wait()

    def _set(self, name: str, serves: bool) -> None:
        """Note what a name has; without effect once the service stops."""
        if not self._stopping:
            self._statuses[name] = Response.SERVING if serves else Response.NOT_SERVING
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _name(camera: str) -> str:
    return f"camera/{camera}"
