"""The gRPC server: the camera service, health and reflection on one port."""

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from camsvc.api.service import DESCRIPTOR, CameraService
from camsvc.config.settings import ServiceSettings
from camsvc.grpc_server.admission import Admission
from camsvc.grpc_server.connections import Connections
from camsvc.grpc_server.handlers import MAX_REQUEST_BYTES, handlers_of
from camsvc.grpc_server.health import Health
from camsvc.grpc_server.other_services import OtherServices
from camsvc.grpc_server.untaken import Untaken
from camsvc.system import posix

_OPTIONS = [
    # Two services on one port would share the calls among them, unnoticed.
    ("grpc.so_reuseport", 0),
    # Larger ones are answered by gRPC, with RESOURCE_EXHAUSTED.
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
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
    # Who connects begins to speak at once; who has nothing to say for so long connects again.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 600_000),
    # Of one connection: a back end may watch for hundreds of browsers. Calls beyond wait there.
    ("grpc.max_concurrent_streams", 1_000),
]

_FEWEST_CONNECTIONS = 16

_RESERVED_DESCRIPTORS = 128
"""For the service's own files, besides workers and downloads."""

_WORKER_DESCRIPTORS = 10
"""Of a camera: a worker and a warm one, or one that is about to go."""

_WRITE_TIMEOUTS_S = {"LiveView": 20.0, "DownloadImage": 60.0}
"""Of what holds a place that others may want: whose process answers pings, but takes nothing, has
left its loop. A download may well pause, and can be resumed. Readers of events may pause for as
long as they like: what they have not read is on disk."""


class AddressInUse(Exception):
    """The address to listen on cannot be bound."""


class Server:
    """Serves the contract until stopped."""

    def __init__(
        self, service: CameraService, health: Health, settings: ServiceSettings, cameras: int
    ) -> None:
        """Bind the address of the settings. What `cameras` need is left of the descriptors.

        Raises:
            AddressInUse: it is taken, or is not this machine's.
        """
        self._service = service
        self._health = health
        spare = posix.descriptor_limit() - _RESERVED_DESCRIPTORS - _WORKER_DESCRIPTORS * cameras
        most = max(
            _FEWEST_CONNECTIONS, min(settings.max_connections, spare - settings.max_downloads)
        )
        options = [*_OPTIONS, ("grpc.max_allowed_incoming_connections", most)]
        untaken = Untaken()
        self._connections = Connections(most, untaken)
        admission = Admission(
            self._connections,
            max_calls=settings.max_calls,
            max_calls_per_s=settings.max_calls_per_s,
        )
        self._server = grpc.aio.server(interceptors=[OtherServices(admission)], options=options)
        handlers = handlers_of(
            service,
            DESCRIPTOR,
            admission=admission,
            untaken=untaken,
            write_timeouts_s=_WRITE_TIMEOUTS_S,
        )
        self._server.add_generic_rpc_handlers((handlers,))
        health_pb2_grpc.add_HealthServicer_to_server(health, self._server)
        reflection.enable_server_reflection(
            (DESCRIPTOR.full_name, "grpc.health.v1.Health", reflection.SERVICE_NAME), self._server
        )
        try:
            self.port = self._server.add_insecure_port(settings.listen)
        except RuntimeError as error:
            raise AddressInUse(settings.listen) from error

    async def start(self) -> None:
        """Begin to serve."""
        await self._server.start()

    async def watch_connections(self) -> None:
        """End connections for the sake of others, where it has to be; for ever."""
        await self._connections.watch(self.port)

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; let those under way end within `grace_s`, then end them.

        Streams, which would not end by themselves, end at once.
        """
        self._health.stop()
        self._service.end_streams()
        await self._server.stop(grace_s)
