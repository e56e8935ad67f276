"""The gRPC server: the camera service, health and reflection on one port."""

import grpc
from camapi.v1 import camera_service_pb2, camera_service_pb2_grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from camsvc.api.errors import CallInterceptor
from camsvc.api.service import CameraService
from camsvc.fleet import Fleet
from camsvc.grpc_server.health import Health
from camsvc.storage.archive import Archive

SERVICE_NAME = camera_service_pb2.DESCRIPTOR.services_by_name["CameraService"].full_name

_MAX_REQUEST_BYTES = 16 * 2**20
"""Larger than any sound request: an unsound one is to be told what is allowed, by us."""

_OPTIONS = [
    # Two services on one port would share the calls among them without a word.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    # gRPC's default answers a client's frequent pings with GOAWAY too_many_pings, which some
    # clients report as RESOURCE_EXHAUSTED.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
]


class AddressInUse(Exception):
    """The address to listen on cannot be bound."""


class Server:
    """Serves a fleet until stopped."""

    def __init__(
        self,
        fleet: Fleet,
        archive: Archive,
        *,
        listen: str,
        inline_limit_bytes: int,
        health: Health,
    ) -> None:
        """Bind the address.

        Raises:
            AddressInUse: it is taken, or is not this machine's.
        """
        self._fleet = fleet
        self._archive = archive
        self._health = health
        self._server = grpc.aio.server(interceptors=[CallInterceptor()], options=_OPTIONS)
        service = CameraService(fleet, archive, inline_limit_bytes)
        camera_service_pb2_grpc.add_CameraServiceServicer_to_server(service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (SERVICE_NAME, "grpc.health.v1.Health", reflection.SERVICE_NAME), self._server
        )
        try:
            self.port = self._server.add_insecure_port(listen)
        except RuntimeError as error:
            raise AddressInUse(listen) from error

    async def start(self) -> None:
        """Begin to serve; health says so from the first answer on."""
        for name in ("", SERVICE_NAME):
            self._health.set(name, well=True)
        for view in self._fleet.views():
            self._health.on_state_changed(view.id, view.state)
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; let those under way end within `grace_s`, then end them.

        Streams, which would not end by themselves, end at once.
        """
        self._health.stop()
        self._fleet.announce_stop()
        self._archive.end_streams()
        await self._server.stop(grace_s)
