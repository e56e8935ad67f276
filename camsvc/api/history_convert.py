"""Captures, groups and events, made into messages of the contract."""

from collections import OrderedDict

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from camsvc.api.convert import duration, settings, timestamp
from camsvc.api.errors import status_of
from camsvc.camera.capture import CaptureResult
from camsvc.camera.group import Result
from camsvc.model.records import CaptureRecord, CaptureState, EventRecord, StoredImage
from camsvc.storage.event_feed import Gap, Heartbeat

_MAX_KEPT = 1000
"""Some 700 bytes each."""


def capture(record: CaptureRecord) -> pb.Capture:
    """Return a capture, without its picture's bytes."""
    message = pb.Capture(
        capture_id=record.capture_id,
        camera=record.camera,
        request_id=record.request_id,
        state=pb.Capture.State.Value(f"STATE_{record.state.value}"),
        create_time=timestamp(record.create_time_ns),
        controls=settings(record.controls),
        labels=record.labels,
        attempts=record.attempts,
        recoveries=record.recoveries,
    )
    if record.image is not None:
        message.image.CopyFrom(_image(record.image))
    if record.others:
        message.parts.extend(map(_part, record.files))
    if record.acquisition_time_ns:
        message.acquisition_time.CopyFrom(timestamp(record.acquisition_time_ns))
    if record.exposure_us is not None:
        message.exposure_duration.CopyFrom(duration(record.exposure_us / 1e6))
    if record.state is not CaptureState.RUNNING:
        message.timing.CopyFrom(
            pb.CaptureTiming(
                queue=duration(record.queue_s),
                driver=duration(record.driver_s),
                store=duration(record.store_s),
                total=duration(record.total_s),
            )
        )
    if record.failure is not None:
        message.error.CopyFrom(status_of(record.failure.error()))
    return message


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

    def serialize(self, item: EventRecord | Heartbeat | Gap) -> bytes:
        """Return the wire form of one message of the stream of events."""
        if not isinstance(item, EventRecord):
            return event(item).SerializeToString()
        wire = self._made.get(item.sequence)
        if wire is None:
            wire = self._made[item.sequence] = event(item).SerializeToString()
            if len(self._made) > _MAX_KEPT:
                self._made.popitem(last=False)
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
    )
    if item.capture is not None:
        message.capture.CopyFrom(capture(item.capture))
    if item.failure is not None:
        message.error.CopyFrom(status_of(item.failure.error()))
    return api.CaptureEventsResponse(event=message)


def _part(file: StoredImage) -> pb.CapturePart:
    return pb.CapturePart(
        name=file.name,
        mime_type=file.mime_type,
        width_px=file.width_px,
        height_px=file.height_px,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
    )


def _image(image: StoredImage) -> pb.CaptureImage:
    return pb.CaptureImage(
        mime_type=image.mime_type,
        width_px=image.width_px,
        height_px=image.height_px,
        size_bytes=image.size_bytes,
        sha256=image.sha256,
    )
