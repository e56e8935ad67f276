"""What live view costs: processor time for each frame that reached a viewer, and the peers'.

Peers take turns in short windows, so that noise of the machine meets them all.
"""

from collections.abc import AsyncIterator, Callable

from bench import live_harness as h
from bench import live_servers as servers

_ROUNDS = 4
_JPEG_BYTES, _WIRE_BYTES = 100_000, 99_000
"""About this size is asked for, and this is what comes, with its message's other fields."""


async def against_bare(seconds: float) -> AsyncIterator[h.Row]:
    """Row 1: the service alone against bare servers, the same bytes to 40 connections.

    The second of them shows how much of the difference is gRPC's.
    """
    ours, tcp, grpc = Cost(), Cost(), Cost()
    async with (
        servers.service(servers.ready_jpeg(_JPEG_BYTES)) as service,
        servers.bare("tcp", _WIRE_BYTES, 30) as socket_peer,
        servers.bare("grpc", _WIRE_BYTES, 30) as grpc_peer,
    ):
        for _ in range(_ROUNDS):
            await ours.add(service, "live", 40, seconds, service.cpu_s, processes=4)
            await tcp.add(
                *(socket_peer, "tcp", 40, seconds, socket_peer.cpu_s),
                processes=4,
                frame_bytes=_WIRE_BYTES,
            )
            await grpc.add(grpc_peer, "live", 40, seconds, grpc_peer.cpu_s, processes=4)
    ratio = ours.us_per_frame / tcp.us_per_frame
    yield h.Row(
        "service CPU a delivered frame, 40 viewers x 100 KB x 30 fps : bare asyncio TCP",
        f"{ratio:.2f}  ({ours} : {tcp})",
        "<= 1.6",
        ratio <= 1.6,
    )
    ratio = ours.us_per_frame / grpc.us_per_frame
    yield h.Row(
        "the same : bare grpc.aio handler of the same bytes, made once",
        f"{ratio:.2f}  ({ours} : {grpc})",
        "stated",
        True,
    )


async def worker(seconds: float) -> AsyncIterator[h.Row]:
    """Row 2: the worker's CPU does not depend on how many watch."""
    many, one = Cost(), Cost()
    async with servers.service(servers.PIXELS) as service:
        for _ in range(_ROUNDS):
            await many.add(service, "live", 40, seconds, service.workers_cpu_s, processes=4)
            await one.add(service, "live", 1, seconds, service.workers_cpu_s, processes=1)
    # A frame encoded was delivered to 40 viewers, or to one.
    ratio = many.us_per_frame * 40 / one.us_per_frame
    yield h.Row(
        "worker CPU a frame encoded, 40 viewers of one variant : 1 viewer",
        f"{ratio:.2f}  ({many.us_per_frame * 40:.0f} us : {one.us_per_frame:.0f} us)",
        "<= 1.1",
        ratio <= 1.1,
    )


async def against_fastapi(seconds: float) -> AsyncIterator[h.Row]:
    """Row 3: the whole service against the endpoint that encodes for each viewer."""
    ours, peer = await _against("fastapi_mjpeg", "mjpeg", seconds)
    ratio = ours.us_per_frame / peer.us_per_frame
    yield h.Row(
        "service and worker CPU a delivered frame, 20 viewers, 1080p : FastAPI MJPEG",
        f"1/{1 / ratio:.1f}  ({ours} : {peer})",
        "<= 1/10",
        ratio <= 0.1,
    )


async def against_viam(seconds: float) -> AsyncIterator[h.Row]:
    """Row 4: the same against the Viam SDK's server."""
    ours, peer = await _against("viam_camera", "viam", seconds)
    ratio = ours.us_per_frame / peer.us_per_frame
    yield h.Row(
        "the same : Viam SDK's camera server",
        f"1/{1 / ratio:.1f}  ({ours} : {peer})",
        "< 1",
        ratio < 1,
    )


async def _against(name: str, kind: str, seconds: float) -> "tuple[Cost, Cost]":
    ours, theirs = Cost(), Cost()
    async with servers.service(servers.PIXELS) as service, servers.peer(name) as peer:
        for _ in range(_ROUNDS):
            meters = [service.cpu_s, service.workers_cpu_s]
            await ours.add(service, "live", 20, seconds, *meters, processes=2)
            await theirs.add(peer, kind, 20, seconds, peer.cpu_s, processes=2)
    return ours, theirs


class Cost:
    """Processor time and frames of one server, over its turns."""

    def __init__(self) -> None:
        self._cpu_s, self._frames, self._seconds, self._viewers = 0.0, 0, 0.0, 0

    async def add(
        self,
        server: servers.Server,
        kind: str,
        count: int,
        seconds: float,
        *meters: Callable[[], float],
        processes: int,
        **spec: object,
    ) -> None:
        """Measure one more turn."""
        frames, used = await h.watched(
            server, kind, count, seconds, meters, processes=processes, **spec
        )
        self._cpu_s += sum(used)
        self._frames += frames.count()
        self._seconds += seconds
        self._viewers = count

    @property
    def us_per_frame(self) -> float:
        """Microseconds of processor time for each frame delivered."""
        return self._cpu_s * 1e6 / self._frames

    def __str__(self) -> str:
        fps = self._frames / self._seconds / self._viewers
        return f"{self.us_per_frame:.0f} us at {fps:.1f} fps"
