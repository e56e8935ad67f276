"""grpc.health.v1, of the service and of each camera.

Not the servicer that grpcio-health-checking has for asyncio: with that one (1.81), a watcher that
leaves takes the others' news with it, one that does not read holds up every change, and a stop
waits for the watchers until its grace is over.
"""

import asyncio
from collections.abc import AsyncIterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from camsvc.api.errors import Context
from camsvc.camera.observer import CameraObserver
from camsvc.model.lifecycle import State

Response = health_pb2.HealthCheckResponse


_NOT_SERVING = (State.RECOVERING, State.FAULTED)


class Health(CameraObserver, health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # no types
    """Tells who is well. Watchers that are slow to read miss what has changed back meanwhile."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._stopping = False
        self._changed = asyncio.Event()

    def set(self, name: str, *, well: bool) -> None:
        """Note how `name` is; without effect once the service stops."""
        if not self._stopping:
            self._known[name] = Response.SERVING if well else Response.NOT_SERVING
            self._wake()

    def on_state_changed(self, camera: str, state: State) -> None:
        """A camera serves unless it fails."""
        self.set(f"camera/{camera}", well=state not in _NOT_SERVING)

    def stop(self) -> None:
        """Tell that nothing is served any more, and end the watching."""
        self._known = dict.fromkeys(self._known, Response.NOT_SERVING)
        self._stopping = True
        self._wake()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """How a name is now."""
        if request.service not in self._known:
            known = ", ".join(repr(name) for name in self._known)
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"nothing is known of {request.service[:80]!r}; known are: {known}",
            )
        return Response(status=self._known[request.service])

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """How a name is now, and whenever that changes."""
        told = None
        while True:
            changed = self._changed
            status = self._known.get(request.service, Response.SERVICE_UNKNOWN)
            if status != told:
                told = status
                yield Response(status=status)
            elif self._stopping:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the service stops")
            else:
                await changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
