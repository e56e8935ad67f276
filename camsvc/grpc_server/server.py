"""The gRPC server: the camera service, health and reflection on one port."""

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from camsvc.api.service import DESCRIPTOR, CameraService
from camsvc.grpc_server.handlers import handlers_of
from camsvc.grpc_server.health import Health
from camsvc.grpc_server.rate_limit import RateLimit

_MAX_REQUEST_BYTES = 16 * 2**20
"""Larger than any valid request: it is the service that answers an invalid one."""

_OPTIONS = [
    # Two services on one port would share the calls among them, unnoticed.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    # gRPC's default answers a client's frequent pings with GOAWAY too_many_pings, which some
    # clients report as RESOURCE_EXHAUSTED.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Whose process is stopped, or whose machine has gone, answers no ping, and is let go in 40 s.
    # Of the two time-outs of a ping, gRPC waits for the longer.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
]

_WRITE_TIMEOUTS_S = {"LiveView": 20.0}
"""Of what holds a place that others may want: whose process answers pings, but takes nothing, has
left its loop. Readers of events and of downloads may well pause."""


class AddressInUse(Exception):
    """The address to listen on cannot be bound."""


class Server:
    """Serves the contract until stopped."""

    def __init__(
        self, service: CameraService, health: Health, listen: str, max_calls_per_s: float
    ) -> None:
        """Bind the address. `max_calls_per_s` are those of one caller; 0: any number.

        Raises:
            AddressInUse: it is taken, or is not this machine's.
        """
        self._service = service
        self._health = health
        self._server = grpc.aio.server(options=_OPTIONS)
        handlers = handlers_of(
            service,
            DESCRIPTOR,
            rate_limit=RateLimit(max_calls_per_s),
            write_timeouts_s=_WRITE_TIMEOUTS_S,
        )
        self._server.add_generic_rpc_handlers((handlers,))
        health_pb2_grpc.add_HealthServicer_to_server(health, self._server)
        reflection.enable_server_reflection(
            (DESCRIPTOR.full_name, "grpc.health.v1.Health", reflection.SERVICE_NAME), self._server
        )
        try:
            self.port = self._server.add_insecure_port(listen)
        except RuntimeError as error:
            raise AddressInUse(listen) from error

    async def start(self) -> None:
        """Begin to serve."""
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; let those under way end within `grace_s`, then end them.

        Streams, which would not end by themselves, end at once.
        """
        self._health.stop()
        self._service.end_streams()
        await self._server.stop(grace_s)
