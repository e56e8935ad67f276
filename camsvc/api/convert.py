"""The service's own values made into messages of the contract."""

import time
from collections.abc import Mapping
from dataclasses import replace

import structlog
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from camsvc.api.errors import status_of
from camsvc.camera.recovery import Step, StepStatistics
from camsvc.camera.view import ActiveCapture, CameraView
from camsvc.live.viewer import LiveFrame, LiveStatus
from camsvc.model.discovery import FoundDevice
from camsvc.model.errors import CameraUnavailable
from camsvc.model.values import Control, ControlValue, DeviceInfo

_TYPES = {
    "bool": pb.Control.TYPE_BOOL,
    "int": pb.Control.TYPE_INT,
    "float": pb.Control.TYPE_DOUBLE,
    "string": pb.Control.TYPE_STRING,
}

_log = structlog.get_logger()

_NOT_SHOWN = "what the camera says of itself cannot be shown; see the service's log"

_MAX_SERIALIZED = 8
"""Serialised forms kept of one frame: viewers that miss many frames miss different numbers."""

_AGE_ACCURACY_S = 0.01
"""A frame's age may be as much more than it says."""


def with_bytes(message: Message, field: int, data: bytes) -> bytes:
    """Return a message's wire form with one more field, of type bytes or message.

    On the wire a message is its fields in a row, so a large one can be appended to the others: one
    copy of a picture's bytes, where protobuf makes three.
    """
    return b"".join((message.SerializeToString(), _key(field, len(data)), data))


def live_frame(frame: LiveFrame, dropped: int) -> bytes:
    """Return a frame's wire form, the same in LiveViewResponse and in GetFrameResponse.

    Made once for all viewers that have missed as many frames, and get it at the same time: most
    have missed none, or few.
    """
    age_s = max(0.0, time.monotonic() - frame.monotonic_ns / 1e9)
    key = dropped, int(age_s / _AGE_ACCURACY_S)
    wire = frame.wires.get(key)
    if wire is None:
        wire = _live_frame(frame, dropped, age_s)
        if len(frame.wires) < _MAX_SERIALIZED:
            frame.wires[key] = wire
    return wire


def _live_frame(frame: LiveFrame, dropped: int, age_s: float) -> bytes:
    image, data = frame.image, frame.image.data
    message = pb.LiveFrame(
        sequence=frame.sequence,
        acquisition_time=timestamp(frame.acquisition_time_ns),
        mime_type=image.mime_type,
        width_px=image.width_px,
        height_px=image.height_px,
        frames_dropped=dropped,
        age=duration(age_s),
    )
    fields = message.SerializeToString() + _key(pb.LiveFrame.DATA_FIELD_NUMBER, len(data))
    length = len(fields) + len(data)
    return b"".join((_key(api.LiveViewResponse.FRAME_FIELD_NUMBER, length), fields, data))


def live_status(status: LiveStatus) -> api.LiveViewResponse:
    """Return a status of the live view."""
    message = pb.LiveStatus(
        state=pb.LiveStatus.State.Value(f"STATE_{status.state.value}"),
        reason=status.reason,
        last_frame_time=known_time(status.last_frame_ns),
        error=status_of(status.error) if status.error else None,
    )
    return api.LiveViewResponse(status=message)


def _key(field: int, length: int) -> bytes:
    """Return the tag and the length that precede a field; its number `field` is below 16."""
    varint = bytearray([field << 3 | 2])
    while length > 0x7F:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    varint.append(length)
    return bytes(varint)


def timestamp(time_ns: int) -> Timestamp:
    """Return nanoseconds since the epoch as a Timestamp."""
    message = Timestamp()
    message.FromNanoseconds(time_ns)
    return message


def known_time(time_ns: int) -> Timestamp | None:
    """Return nanoseconds since the epoch as a Timestamp; None for 0, which stands for no time."""
    return timestamp(time_ns) if time_ns else None


def duration(seconds: float) -> Duration:
    """Return seconds as a Duration."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def camera(view: CameraView) -> pb.Camera:
    """Return a camera as clients see it; where something of it cannot be shown, without that.

    One camera must not keep all the others out of a list.
    """
    try:
        return _camera(view)
    except Exception:
        _log.exception("camera not shown", camera=view.id)
        return _camera(replace(view, device=None, fault=CameraUnavailable(_NOT_SHOWN)))


def _camera(view: CameraView) -> pb.Camera:
    device = view.device
    return pb.Camera(
        camera=view.id,
        driver=view.driver,
        model=device.model if device else "",
        state=pb.Camera.State.Value(f"STATE_{view.state.value}"),
        state_time=timestamp(view.state_time_ns),
        queued_captures=view.queued,
        worst_case_capture_duration=duration(view.worst_case_s),
        statistics=_statistics(view),
        fault=status_of(view.fault) if view.fault else None,
        active_capture=_active(view.active) if view.active else None,
        warnings=device.warnings if device else (),
        capabilities=_capabilities(device) if device else None,
        health=pb.Camera.Health.Value(f"HEALTH_{view.health.value}"),
        worker_pid=view.worker_pid,
        details=device.details if device else {},
    )


def control(found: Control) -> pb.Control:
    """Return a control of a camera."""
    limited = (found.minimum, found.maximum) != (None, None)
    limits = pb.ControlRange(minimum=found.minimum, maximum=found.maximum)
    return pb.Control(
        name=found.name,
        type=_TYPES[found.type],
        unit=found.unit,
        allowed_values=[_value(value) for value in found.allowed],
        access=pb.Control.Access.Value(f"ACCESS_{found.access.upper()}"),
        description=found.description,
        value=None if found.value is None else _value(found.value),
        range=limits if limited else None,
        increment=found.increment,
    )


def settings(values: Mapping[str, ControlValue]) -> list[pb.ControlSetting]:
    """Return control values by name."""
    return [pb.ControlSetting(name=name, value=_value(v)) for name, v in sorted(values.items())]


def device(found: FoundDevice) -> pb.Device:
    """Return an attached device, with settings ready to paste."""
    return pb.Device(
        driver=found.driver,
        name=found.device.name,
        address=found.device.address,
        serial=found.device.serial,
        model=found.device.model,
        camera=found.device.camera,
        settings_snippet=found.settings_snippet,
    )


def _active(capture: ActiveCapture) -> pb.ActiveCapture:
    return pb.ActiveCapture(
        capture_id=capture.capture_id,
        request_id=capture.request_id,
        start_time=timestamp(capture.start_time_ns),
        expected_end_time=timestamp(capture.expected_end_time_ns),
    )


def _capabilities(device: DeviceInfo) -> pb.CameraCapabilities:
    return pb.CameraCapabilities(
        live_view=device.live_view,
        capture_during_live_view=device.capture_during_live_view,
        controls=device.has_controls,
        formats=[pb.ImageOptions.Format.Value(f"FORMAT_{name}") for name in device.formats],
        sizes=[pb.ImageSize(width_px=width, height_px=height) for width, height in device.sizes],
    )


def _statistics(view: CameraView) -> pb.CameraStatistics:
    captures, live = view.captures, view.live
    return pb.CameraStatistics(
        live_viewers=live.viewers,
        frames=live.frames_total,
        bad_frames=live.bad_total,
        fps=live.fps,
        captures_succeeded=captures.captures_succeeded,
        captures_failed=captures.captures_failed,
        captures_rejected=captures.captures_rejected,
        consecutive_failures=view.failures,
        recoveries=[_recovery(*item) for item in view.recoveries.items() if item[1].count],
        last_frame_time=known_time(live.last_frame_ns),
    )


def _recovery(step: Step, statistics: StepStatistics) -> pb.RecoveryStatistics:
    return pb.RecoveryStatistics(
        rung=pb.RecoveryStatistics.Rung.Value(f"RUNG_{step.name}"),
        count=statistics.count,
        last_duration=duration(statistics.last_duration_s),
        last_time=timestamp(statistics.last_time_ns),
    )


def _value(value: ControlValue) -> pb.ControlValue:
    match value:
        case bool():
            return pb.ControlValue(bool_value=value)
        case int():
            return pb.ControlValue(int_value=value)
        case float():
            return pb.ControlValue(double_value=value)
        case str():
            return pb.ControlValue(string_value=value)
