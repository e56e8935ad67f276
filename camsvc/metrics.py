"""Prometheus metrics over HTTP, on a port of their own.

Nothing is counted here: a scrape reads what the cameras count for themselves. It does so on the
event loop, which owns those counts; only the HTTP is on a thread of its own.
"""

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import structlog
from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from camsvc.camera.view import CameraView
from camsvc.fleet import Fleet
from camsvc.model.lifecycle import State
from camsvc.storage.archive import Archive

_log = structlog.get_logger()

_SCRAPE_S = 5.0
"""How long a scrape waits for the event loop."""

_LOOK_S = 1.0
"""How often the HTTP server's thread is checked."""

Family = GaugeMetricFamily | CounterMetricFamily

_GAUGES: dict[str, tuple[str, Callable[[CameraView], float]]] = {
    "camsvc_queued_captures": ("Captures that wait for the camera.", lambda v: v.queued),
    "camsvc_live_viewers": ("Live view streams open.", lambda v: v.live.viewers),
    "camsvc_live_variants": (
        "Sizes and qualities in which live frames are encoded.",
        lambda v: v.live.variants,
    ),
    "camsvc_live_fps": ("Live frames per second.", lambda v: v.live.fps),
}

_STORAGE: dict[str, tuple[str, Callable[[Archive], float]]] = {
    "camsvc_storage_bytes": ("Bytes that the pictures kept take.", lambda a: a.space.total_bytes),
    "camsvc_journal_backlog": ("Writes that wait for the disk.", lambda a: a.queue.pending),
    "camsvc_last_event": ("Number of the newest capture event.", lambda a: a.events.last_sequence),
}

_STORAGE_COUNTERS: dict[str, tuple[str, Callable[[Archive], float]]] = {
    "camsvc_journal_writes_dropped": (
        "Events dropped because too many writes waited for room on the disk.",
        lambda a: a.queue.dropped_writes,
    ),
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
    "camsvc_live_frames": (
        "Live frames read from the camera.",
        lambda v: v.live.frames_total,
    ),
    "camsvc_live_frames_sent": (
        "Live frames handed to viewers.",
        lambda v: v.live.sent_total,
    ),
    "camsvc_live_frames_dropped": (
        "Live frames that viewers were too slow for.",
        lambda v: v.live.dropped_total,
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


class FleetCollector(Collector):
    """Reads a fleet's counts, and its archive's, at each scrape."""

    def __init__(self, fleet: Fleet, archive: Archive, loop: asyncio.AbstractEventLoop) -> None:
        self._fleet = fleet
        self._archive = archive
        self._loop = loop

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: the registry would else collect, on the event loop's own thread."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now (on the thread of the HTTP server)."""
        done: concurrent.futures.Future[list[Metric]] = concurrent.futures.Future()
        self._loop.call_soon_threadsafe(lambda: done.set_result(list(self._read())))
        return [*done.result(_SCRAPE_S), *self._disk()]

    def _disk(self) -> Iterator[Metric]:
        with contextlib.suppress(OSError):
            yield GaugeMetricFamily(
                "camsvc_storage_free_bytes",
                "Bytes free where the pictures are kept.",
                self._archive.space.free_bytes(),
            )

    def _read(self) -> Iterator[Metric]:
        for name, (text, read) in _STORAGE.items():
            yield GaugeMetricFamily(name, text, read(self._archive))
        for name, (text, read) in _STORAGE_COUNTERS.items():
            yield CounterMetricFamily(name, text, read(self._archive))
        views = self._fleet.views()
        for name, (text, gauge) in _GAUGES.items():
            family: Family = GaugeMetricFamily(name, text, labels=["camera"])
            for view in views:
                family.add_metric([view.id], gauge(view))
            yield family
        for name, (text, count) in _COUNTERS.items():
            family = CounterMetricFamily(name, text, labels=["camera"])
            for view in views:
                family.add_metric([view.id], count(view))
            yield family
        yield _by_state(views)
        yield _by_result(views)
        yield from _by_step(views)


def _by_state(views: Sequence[CameraView]) -> Metric:
    family = GaugeMetricFamily(
        "camsvc_camera_state", "1 for the state the camera is in.", labels=["camera", "state"]
    )
    for view in views:
        for state in State:
            family.add_metric([view.id, state.value], state is view.state)
    return family


def _by_result(views: Sequence[CameraView]) -> Metric:
    family = CounterMetricFamily(
        "camsvc_captures", "Captures by their result.", labels=["camera", "result"]
    )
    for view in views:
        family.add_metric([view.id, "succeeded"], view.captures.captures_succeeded)
        family.add_metric([view.id, "failed"], view.captures.captures_failed)
        family.add_metric([view.id, "rejected"], view.captures.captures_rejected)
    return family


def _by_step(views: Sequence[CameraView]) -> Iterator[Metric]:
    labels = ["camera", "rung"]
    counts = CounterMetricFamily(
        "camsvc_recoveries", "Recovery steps that were taken.", labels=labels
    )
    seconds = CounterMetricFamily(
        "camsvc_recovery_seconds", "Time that recovery steps took.", labels=labels
    )
    for view in views:
        for step, statistics in view.recoveries.items():
            counts.add_metric([view.id, step.name], statistics.count)
            seconds.add_metric([view.id, step.name], statistics.total_s)
    yield counts
    yield seconds


async def serve_metrics(fleet: Fleet, archive: Archive, listen: str) -> None:
    """Serve the metrics until the process ends; call on the event loop that owns the fleet.

    Where `listen` cannot be bound, the log says so, and the cameras are served all the same.

    Raises:
        RuntimeError: the server's thread has ended by itself.
    """
    registry = CollectorRegistry()
    registry.register(FleetCollector(fleet, archive, asyncio.get_running_loop()))
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        registry.register(collector)
    host, _, port = listen.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry=registry)
    except OSError as error:
        _log.error("metrics not served", listen=listen, why=error.strerror)
        return
    _log.info("metrics served", listen=f"{host}:{server.server_port}")
    while thread.is_alive():  # noqa: ASYNC110 - a thread that ends sets no event
        await asyncio.sleep(_LOOK_S)
    server.server_close()
    raise RuntimeError("the thread that serves the metrics has ended")
