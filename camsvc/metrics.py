"""Prometheus metrics over HTTP, on a port of their own.

Nothing is counted here: a scrape reads what the cameras count for themselves. It does so on the
event loop, which owns those counts; only the HTTP is on a thread of its own.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler

import structlog
from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    make_wsgi_app,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from camsvc.camera.view import CameraView
from camsvc.fleet import Fleet
from camsvc.logs import LogWriter
from camsvc.model.errors import CameraServiceError
from camsvc.model.health import Health
from camsvc.model.lifecycle import State
from camsvc.storage.archive import Archive

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_log = structlog.get_logger()

_SCRAPE_S = 5.0
"""How long a scrape waits for the event loop."""

_REQUEST_S = 10.0
"""How long a connection may take to send its request, and each piece of it."""

_LOOK_S = 1.0
"""How often the HTTP server's thread is checked."""

Family = GaugeMetricFamily | CounterMetricFamily

_REASONS = [kind.reason for kind in CameraServiceError.__subclasses__()]

_GAUGES: dict[str, tuple[str, Callable[[CameraView], float]]] = {
    "camsvc_queued_captures": ("Captures that wait for the camera.", lambda v: v.queued),
    "camsvc_live_viewers": ("Live view streams open.", lambda v: v.live.viewers),
    "camsvc_live_variants": (
        "Sizes and qualities in which live frames are encoded.",
        lambda v: v.live.variants,
    ),
    "camsvc_consecutive_failures": (
        "Failures since the camera last worked.",
        lambda v: v.failures,
    ),
    "camsvc_live_fps": ("Live frames per second.", lambda v: v.live.fps),
}

_STORAGE: dict[str, tuple[str, Callable[[Archive], float]]] = {
    "camsvc_storage_bytes": ("Bytes that the pictures kept take.", lambda a: a.space.total_bytes),
    "camsvc_journal_bytes": (
        "Bytes that the journal takes at most, with its log.",
        lambda a: a.space.journal_bytes,
    ),
    "camsvc_storage_available": (
        "Whether the disk can keep pictures: 1, or 0.",
        lambda a: not a.disk.fault,
    ),
    "camsvc_journal_backlog": ("Writes that wait for the disk.", lambda a: a.queue.pending),
    "camsvc_last_event": ("Number of the newest capture event.", lambda a: a.events.last_sequence),
}

_COUNTERS: dict[str, tuple[str, Callable[[CameraView], float]]] = {
    "camsvc_busy_refusals": (
        "Captures refused because the camera was busy or its queue full.",
        lambda v: v.captures.captures_busy,
    ),
    "camsvc_worker_starts": (
        "Worker processes that opened the camera, the first one included.",
        lambda v: v.worker_starts,
    ),
    "camsvc_capture_seconds": (
        "Time that succeeded captures took, waiting included.",
        lambda v: v.captures.capture_s_total,
    ),
    "camsvc_live_frames": ("Live frames read from the camera.", lambda v: v.live.frames_total),
    "camsvc_live_frames_sent": ("Live frames handed to viewers.", lambda v: v.live.sent_total),
    "camsvc_live_frames_dropped": (
        "Live frames that viewers were too slow for.",
        lambda v: v.live.dropped_total,
    ),
    "camsvc_live_frames_bad": (
        "Live frames that could not be used.",
        lambda v: v.live.bad_total,
    ),
    "camsvc_live_frames_skipped": (
        "Live frames that the service was too slow for.",
        lambda v: v.live.skipped_total,
    ),
    "camsvc_live_encode_seconds": (
        "Time that the worker spent encoding live frames.",
        lambda v: v.live.encode_s_total,
    ),
}


_LABELLED: dict[str, tuple[type[Family], str, str, Callable[[CameraView], dict[str, float]]]] = {
    "camsvc_camera_state": (
        GaugeMetricFamily,
        "1 for the state the camera is in.",
        "state",
        lambda v: {state.value: state is v.state for state in State},
    ),
    "camsvc_camera_health": (
        GaugeMetricFamily,
        "1 for how well the camera works.",
        "health",
        lambda v: {health.value: health is v.health for health in Health},
    ),
    "camsvc_captures": (
        CounterMetricFamily,
        "Captures by their result.",
        "result",
        lambda v: {
            "succeeded": v.captures.captures_succeeded,
            "failed": v.captures.captures_failed,
            "rejected": v.captures.captures_rejected,
        },
    ),
    "camsvc_refusals": (
        CounterMetricFamily,
        "Captures refused before the shutter.",
        "reason",
        lambda v: {reason: v.captures.refused[reason] for reason in _REASONS},
    ),
    "camsvc_recoveries": (
        CounterMetricFamily,
        "Recovery steps that were taken.",
        "rung",
        lambda v: {step.name: taken.count for step, taken in v.recoveries.items()},
    ),
    "camsvc_recovery_seconds": (
        CounterMetricFamily,
        "Time that recovery steps took.",
        "rung",
        lambda v: {step.name: taken.total_s for step, taken in v.recoveries.items()},
    ),
}
"""With one more label: its name, and what the camera has for each of its values."""


class FleetCollector(Collector):
    """Reads a fleet's counts, and its archive's, at each scrape."""

    def __init__(
        self,
        fleet: Fleet,
        archive: Archive,
        log: LogWriter,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._fleet = fleet
        self._archive = archive
        self._log = log
        self._loop = loop

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: the registry would else collect, on the event loop's own thread."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now (on the thread of the HTTP server)."""
        read = asyncio.run_coroutine_threadsafe(self._read(), self._loop)
        return [*read.result(_SCRAPE_S), *self._disk()]

    def _disk(self) -> Iterator[Metric]:
        with contextlib.suppress(OSError):
            yield GaugeMetricFamily(
                "camsvc_storage_free_bytes",
                "Bytes free where the pictures are kept.",
                self._archive.space.free_bytes(),
            )

    async def _read(self) -> list[Metric]:
        return [*self._of_service(), *self._of_cameras()]

    def _of_service(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "camsvc_log_lines_lost",
            "Lines of the log that nobody took in time.",
            self._log.lost,
        )
        for name, (text, read) in _STORAGE.items():
            yield GaugeMetricFamily(name, text, read(self._archive))
        yield CounterMetricFamily(
            "camsvc_journal_writes_dropped",
            "Events dropped because too many writes waited for room on the disk.",
            self._archive.queue.dropped_writes,
        )

    def _of_cameras(self) -> Iterator[Metric]:
        views = self._fleet.views()
        for kind, metrics in ((GaugeMetricFamily, _GAUGES), (CounterMetricFamily, _COUNTERS)):
            for name, (text, count) in metrics.items():
                family: Family = kind(name, text, labels=["camera"])
                for view in views:
                    family.add_metric([view.id], count(view))
                yield family
        for name, (kind, text, label, counts) in _LABELLED.items():
            family = kind(name, text, labels=["camera", label])
            for view in views:
                for value, number in counts(view).items():
                    family.add_metric([view.id, value], number)
            yield family


class _Handler(WSGIRequestHandler):
    """Answers a request that comes soon, and logs nothing."""

    timeout = _REQUEST_S

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # also a time-out
            super().handle()

    def log_message(self, *_: object) -> None:
        pass


def _for_local_names(app: "WSGIApplication") -> "WSGIApplication":
    """Return an app for this machine alone: a website may have a name of its own lead to it."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        try:
            name = urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname or ""
            known = name == "localhost" or bool(ip_address(name))
        except ValueError:
            known = False
        if known:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"the host is not allowed here; allowed: localhost, or an IP address\n"]

    return answer


async def serve_metrics(fleet: Fleet, archive: Archive, log: LogWriter, listen: str) -> None:
    """Serve the metrics until the process ends; call on the event loop that owns the fleet.

    Where `listen` cannot be bound, the log says so, and the cameras are served all the same.

    Raises:
        RuntimeError: the server's thread has ended by itself.
    """
    registry = CollectorRegistry()
    registry.register(FleetCollector(fleet, archive, log, asyncio.get_running_loop()))
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        registry.register(collector)
    host, _, port = listen.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry=registry)
    except OSError as error:
        _log.error("metrics not served", listen=listen, why=error.strerror)
        return
    server.RequestHandlerClass = _Handler
    if ip_address(str(server.server_address[0])).is_loopback:
        server.set_app(_for_local_names(make_wsgi_app(registry)))
    _log.info("metrics served", listen=f"{host}:{server.server_port}")
    while thread.is_alive():  # noqa: ASYNC110 - a thread that ends sets no event
        await asyncio.sleep(_LOOK_S)
    server.server_close()
    raise RuntimeError("the thread that serves the metrics has ended")
