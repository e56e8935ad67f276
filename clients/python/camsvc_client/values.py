"""Plain Python values made into the contract's messages, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, get_args
from uuid import uuid4

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from google.protobuf.timestamp_pb2 import Timestamp

ControlValue = bool | int | float | str
"""A control's value: true or false, a whole number, a number, a text."""

ImageFormat = Literal["jpeg", "png", "raw"]
"""How a still may be encoded."""

WhenBusy = Literal["retry", "queue", "fail"]
"""What a capture does while the camera takes another still: ask again when the service says, wait
in the camera's queue (callers take turns), or raise `CameraBusy` at once."""

CaptureState = Literal["running", "succeeded", "failed", "cancelled"]
"""Where a capture is in its life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A still as one camera is asked for it; several make a group.

    `format` by default JPEG. `quality_percent` is 1..100, for JPEG. `max_width_px` and
    `max_height_px` bound the size; the aspect is kept. `controls` are for this shot only. `labels`
    are kept with the capture: at most 64, of at most 16 KiB with their keys. `request_id` is a UUID
    that makes the request safe to repeat; there is always one, by default a new one.

    Example:
        left = Shot(camera="left", controls={"focus_distance_diopters": 8.2})
        group = await client.capture_group([left, Shot(camera="right", labels={"scan": "42"})])
    """

    camera: str
    format: ImageFormat | None = None
    quality_percent: int | None = None
    max_width_px: int | None = None
    max_height_px: int | None = None
    controls: Mapping[str, ControlValue] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    request_id: str = field(default_factory=lambda: str(uuid4()))

    def request(self) -> api.CaptureRequest:
        """Return the message.

        Raises:
            TypeError: a control's value is not of bool, int, float, str.
            ValueError: the format does not exist.
        """
        return api.CaptureRequest(
            camera=self.camera,
            request_id=self.request_id,
            image=pb.ImageOptions(
                format=_format(self.format),
                quality_percent=self.quality_percent,
                max_width_px=self.max_width_px,
                max_height_px=self.max_height_px,
            ),
            controls=control_settings(self.controls),
            labels=dict(self.labels),
        )


def control_value(value: pb.ControlValue) -> ControlValue | None:
    """Return a control's value as a plain one; None: it cannot be read.

    Example:
        controls = {c.name: control_value(c.value) for c in await client.list_controls("sim0")}
    """
    kind = value.WhichOneof("kind")
    plain: ControlValue | None = getattr(value, kind) if kind else None
    return plain


def control_settings(values: Mapping[str, ControlValue]) -> list[pb.ControlSetting]:
    """Return messages that set controls.

    Raises:
        TypeError: a value is not of bool, int, float, str.
    """
    return [pb.ControlSetting(name=name, value=_message(name, v)) for name, v in values.items()]


def timestamp(when: datetime | None) -> Timestamp | None:
    """Return a point in time as a message.

    Raises:
        ValueError: it does not say in which time zone it is.
    """
    if when is None:
        return None
    if when.tzinfo is None:
        raise ValueError(f"{when} has no time zone; allowed: for example datetime.now(UTC)")
    message = Timestamp()
    message.FromDatetime(when.astimezone(UTC))
    return message


def utc(when: Timestamp) -> datetime:
    """Return a message's point in time, in UTC, to the microsecond.

    Example:
        print(utc(picture.capture.acquisition_time))
    """
    return when.ToDatetime(UTC)


def state_values(names: Iterable[CaptureState]) -> list[pb.Capture.State.ValueType]:
    """Return the contract's values for states of captures.

    Raises:
        ValueError: one of them does not exist.
    """
    return [pb.Capture.State.Value(f"STATE_{name.upper()}") for name in names]


def _format(name: ImageFormat | None) -> pb.ImageOptions.Format.ValueType:
    if name is None:
        return pb.ImageOptions.FORMAT_UNSPECIFIED
    if name not in get_args(ImageFormat):
        raise ValueError(f"{name!r} is not a format; allowed: {', '.join(get_args(ImageFormat))}")
    return pb.ImageOptions.Format.Value(f"FORMAT_{name.upper()}")


def _message(name: str, value: ControlValue) -> pb.ControlValue:
    match value:
        case bool():  # before int, which it is too
            return pb.ControlValue(bool_value=value)
        case int():
            return pb.ControlValue(int_value=value)
        case float():
            return pb.ControlValue(double_value=value)
        case str():
            return pb.ControlValue(string_value=value)
    raise TypeError(f"{value!r} is not a value for {name}; allowed: bool, int, float, str")
