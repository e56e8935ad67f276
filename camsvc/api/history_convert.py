"""Captures, groups and events, made into messages of the contract."""

from collections import OrderedDict
from typing import Any

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from camsvc.api.convert import duration, known_time, settings, timestamp
from camsvc.api.errors import status_of
from camsvc.camera.capture import CaptureResult
from camsvc.camera.group import Result
from camsvc.model.records import CaptureRecord, CaptureState, EventRecord, StoredImage
from camsvc.storage.event_feed import Gap, Heartbeat

_KEPT_BYTES = 1 << 20
"""Some 1500 events, of 700 bytes each; fewer where captures have many labels."""


def capture(record: CaptureRecord) -> pb.Capture:
    """Return a capture, without its picture's bytes."""
    exposure_us = record.exposure_us
    parts = record.files if record.others else ()
    return pb.Capture(
        capture_id=record.capture_id,
        camera=record.camera,
        request_id=record.request_id,
        state=pb.Capture.State.Value(f"STATE_{record.state.value}"),
        create_time=timestamp(record.create_time_ns),
        controls=settings(record.controls),
        labels=record.labels,
        attempts=record.attempts,
        recoveries=record.recoveries,
        image=pb.CaptureImage(**_file(record.image)) if record.image else None,
        parts=[pb.CapturePart(name=file.name, **_file(file)) for file in parts],
        acquisition_time=known_time(record.acquisition_time_ns),
        exposure_duration=None if exposure_us is None else duration(exposure_us / 1e6),
        timing=None if record.state is CaptureState.RUNNING else _timing(record),
        error=status_of(record.failure.error()) if record.failure else None,
        warnings=record.warnings,
    )


def group_result(camera: str, result: Result) -> api.CaptureGroupResult:
    """Return the result of one camera in a group."""
    if isinstance(result, CaptureResult):
        return api.CaptureGroupResult(
            camera=camera, capture=capture(result.record), replayed=result.replayed
        )
    result.metadata.setdefault("camera", camera)
    return api.CaptureGroupResult(camera=camera, error=status_of(result))


class SerializedEvents:
    """Events in their wire form, made once for all readers: the newest, and the last replayed."""

    def __init__(self) -> None:
        self._made: OrderedDict[int, bytes] = OrderedDict()
        self._size_bytes = 0

    def serialize(self, item: EventRecord | Heartbeat | Gap) -> bytes:
        """Return the wire form of one message of the stream of events."""
        if not isinstance(item, EventRecord):
            return event(item).SerializeToString()
        wire = self._made.get(item.sequence)
        if wire is None:
            wire = self._made[item.sequence] = event(item).SerializeToString()
            self._size_bytes += len(wire)
            while self._size_bytes > _KEPT_BYTES:
                self._size_bytes -= len(self._made.popitem(last=False)[1])
        return wire


def event(item: EventRecord | Heartbeat | Gap) -> api.CaptureEventsResponse:
    """Return one message of the stream of events."""
    match item:
        case Heartbeat(last_sequence):
            return api.CaptureEventsResponse(
                heartbeat=pb.EventHeartbeat(last_sequence=last_sequence)
            )
        case Gap(first):
            return api.CaptureEventsResponse(gap=pb.EventGap(first_available_sequence=first))
    message = pb.CaptureEvent(
        sequence=item.sequence,
        event_time=timestamp(item.time_ns),
        camera=item.camera,
        capture_id=item.capture_id,
        request_id=item.request_id,
        type=pb.CaptureEvent.Type.Value(f"TYPE_{item.type.value}"),
        attempt=item.attempt,
        progress_percent=item.progress_percent,
        queue_position=item.queue_position,
        capture=capture(item.capture) if item.capture else None,
        error=status_of(item.failure.error()) if item.failure else None,
        refused_count=item.refused_count,
    )
    return api.CaptureEventsResponse(event=message)


def _timing(record: CaptureRecord) -> pb.CaptureTiming:
    return pb.CaptureTiming(
        queue=duration(record.queue_s),
        driver=duration(record.driver_s),
        store=duration(record.store_s),
        total=duration(record.total_s),
    )


def _file(file: StoredImage) -> dict[str, Any]:
    """Return what CaptureImage and CapturePart have in common."""
    return {
        "mime_type": file.mime_type,
        "width_px": file.width_px,
        "height_px": file.height_px,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
    }
