"""Requests made into plain values, each field checked: subject, value and what is allowed."""

import math
import re
import uuid
from collections.abc import Iterable, Mapping

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from google.protobuf.message import Message

from camsvc.camera.capture import Order
from camsvc.live.variants import LiveSpec
from camsvc.model.errors import InvalidRequest
from camsvc.model.values import ControlValue, Shot

_CAMERA_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_MAX_LABELS = 64
_MAX_LABEL_VALUE_BYTES = 1024
_MAX_CONTROLS = 64
_MAX_CONTROL_TEXT_BYTES = 1024
_MAX_CONTROL_NAME_BYTES = 255
_MAX_SIZE_PX = 65535
_MAX_FPS = 1000
_MAX_AGE_S = 86_400
_UNSET_WITH = {
    "PNG": ("quality_percent",),
    "RAW": ("quality_percent", "max_width_px", "max_height_px"),
}
_SHOWN = 80


def camera_id(value: str, field: str = "camera") -> str:
    """Return a well-formed camera id."""
    if not _CAMERA_ID.fullmatch(value):
        raise InvalidRequest(
            field,
            f"{short(value)} is not a camera id; allowed: a lower-case letter, then up to 62 "
            "lower-case letters, digits and hyphens",
        )
    return value


def request_id(value: str) -> str:
    """Return a request id in its canonical form; empty when there is none."""
    if not value:
        return ""
    try:
        parsed = uuid.UUID(value)
    except ValueError:
        parsed = None
    if parsed is None or str(parsed) != value.lower():
        raise InvalidRequest(
            "request_id",
            f"{short(value)} is not a UUID; allowed: none, or for example "
            "'3f2a8c1e-5b7d-4e9f-8a6b-0c1d2e3f4a5b'",
        )
    return str(parsed)


def labels(values: Mapping[str, str]) -> dict[str, str]:
    """Return checked labels."""
    if len(values) > _MAX_LABELS:
        raise InvalidRequest("labels", f"{len(values)} labels; allowed: up to {_MAX_LABELS}")
    for key, value in values.items():
        if not _LABEL_KEY.fullmatch(key):
            raise InvalidRequest(
                "labels",
                f"the key {short(key)} is not allowed; allowed: a lower-case letter, then up to "
                "62 lower-case letters, digits and _ . -",
            )
        size = len(value.encode())
        if size > _MAX_LABEL_VALUE_BYTES:
            raise InvalidRequest(
                f"labels[{key}]",
                f"the value has {size} bytes; allowed: up to {_MAX_LABEL_VALUE_BYTES}",
            )
    return dict(values)


def controls(settings: Iterable[pb.ControlSetting]) -> dict[str, ControlValue]:
    """Return control values by name; the camera checks them against its own ranges."""
    values: dict[str, ControlValue] = {}
    for index, setting in enumerate(settings):
        field = f"controls[{index}]"
        if index >= _MAX_CONTROLS:
            raise InvalidRequest("controls", f"allowed: up to {_MAX_CONTROLS} controls in a call")
        if not 0 < len(setting.name.encode()) <= _MAX_CONTROL_NAME_BYTES:
            raise InvalidRequest(
                f"{field}.name",
                f"{short(setting.name)} is not the name of a control; see ListControls",
            )
        if setting.name in values:
            raise InvalidRequest(f"{field}.name", f"{short(setting.name)} is given twice")
        kind = setting.value.WhichOneof("kind")
        if kind is None:
            raise InvalidRequest(f"{field}.value", f"the value of {short(setting.name)} is missing")
        value: ControlValue = getattr(setting.value, kind)
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidRequest(
                f"{field}.value",
                f"{value} is not a value for {short(setting.name)}; allowed: a finite number",
            )
        if isinstance(value, str) and len(value.encode()) > _MAX_CONTROL_TEXT_BYTES:
            raise InvalidRequest(
                f"{field}.value",
                f"{short(value)} has {len(value.encode())} bytes; "
                f"allowed: up to {_MAX_CONTROL_TEXT_BYTES}",
            )
        values[setting.name] = value
    return values


def shot(request: api.CaptureRequest) -> Shot:
    """Return how the still is to be taken."""
    image = request.image
    check_enum(image, "format")
    format_ = pb.ImageOptions.Format.Name(image.format or pb.ImageOptions.FORMAT_JPEG).removeprefix(
        "FORMAT_"
    )
    for field in _UNSET_WITH.get(format_, ()):
        if image.HasField(field):  # type: ignore[arg-type]
            value = getattr(image, field)
            raise InvalidRequest(
                f"image.{field}", f"{value} is given with {format_}, which has none; leave it out"
            )
    return Shot(
        format=format_,
        quality_percent=_within(image, "quality_percent", 100),
        max_width_px=_within(image, "max_width_px", _MAX_SIZE_PX),
        max_height_px=_within(image, "max_height_px", _MAX_SIZE_PX),
        controls=controls(request.controls),
    )


def live_spec(request: api.LiveViewRequest | api.GetFrameRequest) -> LiveSpec:
    """Return which frames are asked for: their size, quality and rate."""
    max_fps = None
    if isinstance(request, api.LiveViewRequest) and request.HasField("max_fps"):
        max_fps = request.max_fps
        if not 0 < max_fps <= _MAX_FPS:  # also true of NaN
            raise out_of_range("max_fps", max_fps, f"above 0, up to {_MAX_FPS}")
    return LiveSpec(
        max_width_px=_within(request, "max_width_px", _MAX_SIZE_PX),
        max_height_px=_within(request, "max_height_px", _MAX_SIZE_PX),
        quality_percent=_within(request, "quality_percent", 100),
        max_fps=max_fps,
    )


def max_age_s(request: api.GetFrameRequest) -> float | None:
    """Return how old a frame may be, in seconds; None: it must be a new one."""
    if not request.HasField("max_age"):
        return None
    seconds = request.max_age.ToNanoseconds() / 1e9
    if not 0 <= seconds <= _MAX_AGE_S:
        raise out_of_range("max_age", f"{seconds:g} s", f"from 0 to {_MAX_AGE_S} s")
    return seconds


def order(request: api.CaptureRequest, inline_limit_bytes: int, *, in_group: bool = False) -> Order:
    """Return what a capture request orders, every field checked.

    In a group, pictures are never inline.
    """
    limit = inline_limit_bytes
    if request.HasField("max_inline_bytes"):
        limit = request.max_inline_bytes
        if limit < 1:
            raise out_of_range("max_inline_bytes", limit, "from 1")
    for field in ("delivery", "busy_policy"):
        check_enum(request, field)
    inline = request.delivery != api.CaptureRequest.DELIVERY_REFERENCE and not in_group
    return Order(
        shot=shot(request),
        request_id=request_id(request.request_id),
        labels=labels(request.labels),
        inline_bytes=limit if inline else 0,
        wait=request.busy_policy == api.CaptureRequest.BUSY_POLICY_WAIT,
    )


def group(request: api.CaptureGroupRequest) -> list[Order]:
    """Return what a group's requests order, in their order."""
    if not request.requests:
        raise InvalidRequest("requests", "none is given; allowed: one for each camera, from 1 on")
    orders, cameras = [], set()
    for index, member in enumerate(request.requests):
        field = f"requests[{index}]"
        try:
            camera_id(member.camera)
            orders.append(order(member, 0, in_group=True))
        except InvalidRequest as error:
            raise InvalidRequest(f"{field}.{error.field}", error.description) from None
        if member.camera in cameras:
            raise InvalidRequest(
                f"{field}.camera",
                f"{short(member.camera)} is given twice; allowed: one request per camera",
            )
        cameras.add(member.camera)
    return orders


def _within(message: Message, field: str, maximum: int) -> int | None:
    if not message.HasField(field):
        return None
    value: int = getattr(message, field)
    if not 1 <= value <= maximum:
        raise out_of_range(_path(message, field), value, f"from 1 to {maximum}")
    return value


def _path(message: Message, field: str) -> str:
    return f"image.{field}" if isinstance(message, pb.ImageOptions) else field


def check_enum(message: Message, field: str) -> None:
    """Refuse a number that the enum of a field does not have."""
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    value: int = getattr(message, field)
    if enum is not None and value not in enum.values_by_number:
        names = ", ".join(known.name for known in enum.values if known.number)
        raise InvalidRequest(_path(message, field), f"{value} is not known; allowed: {names}")


def out_of_range(field: str, value: object, allowed: str) -> InvalidRequest:
    """Return the error of a number that is too small or too large."""
    return InvalidRequest(field, f"{value} is out of range; allowed: {allowed}")


def short(value: str) -> str:
    """Return a value as a message shows it."""
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "...")
