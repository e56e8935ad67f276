"""Requests made into plain values, each field checked: subject, value and what is allowed.

What is wrong is added to `wrong`, and the rest is checked nevertheless.
"""

import contextlib
import math
import re
import uuid
from collections.abc import Collection, Mapping

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from google.protobuf.message import Message

from camsvc.api.violations import Violations, out_of_range
from camsvc.camera.capture import Order
from camsvc.live.spec import LiveSpec
from camsvc.model.caller import Caller
from camsvc.model.errors import short
from camsvc.model.values import ControlValue, Shot

_CAMERA_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_MAX_LABELS = 64
_MAX_LABEL_VALUE_BYTES = 1024
_MAX_LABELS_BYTES = 16 << 10
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


def camera_id(value: str, wrong: Violations) -> None:
    """Check a camera's id."""
    if not _CAMERA_ID.fullmatch(value):
        wrong.add(
            "camera",
            f"{short(value)} is not a camera id; allowed: a lower-case letter, then up to 62 "
            "lower-case letters, digits and hyphens",
        )


def request_id(value: str, wrong: Violations) -> str:
    """Return a request id in its canonical form; empty when there is none."""
    if not value:
        return ""
    with contextlib.suppress(ValueError):
        canonical = str(uuid.UUID(value))
        if canonical == value.lower():
            return canonical
    wrong.add(
        "request_id",
        f"{short(value)} is not a UUID; allowed: none, or for example "
        "'3f2a8c1e-5b7d-4e9f-8a6b-0c1d2e3f4a5b'",
    )
    return ""


def labels(values: Mapping[str, str], wrong: Violations) -> dict[str, str]:
    """Return checked labels."""
    if len(values) > _MAX_LABELS:
        wrong.add("labels", f"{len(values)} labels; allowed: up to {_MAX_LABELS}")
        return {}
    total = 0
    for key, value in values.items():
        if not _LABEL_KEY.fullmatch(key):
            wrong.add(
                "labels",
                f"the key {short(key)} is not allowed; allowed: a lower-case letter, then up to "
                "62 lower-case letters, digits and _ . -",
            )
        elif (size := len(value.encode())) > _MAX_LABEL_VALUE_BYTES:
            wrong.add(
                f"labels[{key}]",
                f"the value has {size} bytes; allowed: up to {_MAX_LABEL_VALUE_BYTES}",
            )
        else:
            total += len(key) + size
    if total > _MAX_LABELS_BYTES:
        why = f"their keys and values have {total} bytes; allowed: up to {_MAX_LABELS_BYTES}"
        wrong.add("labels", why)
    return dict(values)


def controls(settings: Collection[pb.ControlSetting], wrong: Violations) -> dict[str, ControlValue]:
    """Return control values by name; the camera checks them against its own ranges."""
    if len(settings) > _MAX_CONTROLS:
        wrong.add("controls", f"{len(settings)} controls; allowed: up to {_MAX_CONTROLS}")
        return {}
    values: dict[str, ControlValue] = {}
    for index, setting in enumerate(settings):
        name, inside = setting.name, wrong.within(f"controls[{index}]")
        if not 0 < len(name.encode()) <= _MAX_CONTROL_NAME_BYTES:
            inside.add("name", f"{short(name)} is not the name of a control; see ListControls")
        if name in values:
            inside.add("name", f"{short(name)} is given twice")
        values[name] = _control_value(setting, inside)
    return values


def _control_value(setting: pb.ControlSetting, wrong: Violations) -> ControlValue:
    kind = setting.value.WhichOneof("kind")
    if kind is None:
        wrong.add("value", f"the value of {short(setting.name)} is missing")
        return ""
    value: ControlValue = getattr(setting.value, kind)
    if isinstance(value, float) and not math.isfinite(value):
        wrong.add(
            "value", f"{value} is not a value for {short(setting.name)}; allowed: a finite number"
        )
    if isinstance(value, str) and (size := len(value.encode())) > _MAX_CONTROL_TEXT_BYTES:
        wrong.add(
            "value", f"{short(value)} has {size} bytes; allowed: up to {_MAX_CONTROL_TEXT_BYTES}"
        )
    return value


def shot(request: api.CaptureRequest, wrong: Violations) -> Shot:
    """Return how the still is to be taken."""
    image, inside = request.image, wrong.within("image")
    format_ = check_enum(image, "format", inside).removeprefix("FORMAT_") or "JPEG"
    for field in _UNSET_WITH.get(format_, ()):
        if image.HasField(field):  # type: ignore[arg-type]
            value = getattr(image, field)
            inside.add(field, f"{value} is given with {format_}, which has none; leave it out")
    return Shot(
        format=format_,
        quality_percent=_within(image, "quality_percent", 100, inside),
        max_width_px=_within(image, "max_width_px", _MAX_SIZE_PX, inside),
        max_height_px=_within(image, "max_height_px", _MAX_SIZE_PX, inside),
        controls=controls(request.controls, wrong),
    )


def live_spec(request: api.LiveViewRequest | api.GetFrameRequest, wrong: Violations) -> LiveSpec:
    """Return which frames are asked for: their size, quality and rate."""
    max_fps = None
    if isinstance(request, api.LiveViewRequest) and request.HasField("max_fps"):
        max_fps = request.max_fps
        if not 0 < max_fps <= _MAX_FPS:  # also true of NaN
            wrong.add("max_fps", out_of_range(max_fps, f"above 0, up to {_MAX_FPS}"))
    return LiveSpec(
        max_width_px=_within(request, "max_width_px", _MAX_SIZE_PX, wrong),
        max_height_px=_within(request, "max_height_px", _MAX_SIZE_PX, wrong),
        quality_percent=_within(request, "quality_percent", 100, wrong),
        max_fps=max_fps,
    )


def max_age_s(request: api.GetFrameRequest, wrong: Violations) -> float | None:
    """Return how old a frame may be, in seconds; None: it must be a new one."""
    if not request.HasField("max_age"):
        return None
    seconds = request.max_age.ToNanoseconds() / 1e9
    if not 0 <= seconds <= _MAX_AGE_S:
        wrong.add("max_age", out_of_range(f"{seconds:g} s", f"from 0 to {_MAX_AGE_S} s"))
    return seconds


def order(
    request: api.CaptureRequest,
    caller: Caller,
    inline_limit_bytes: int,
    wrong: Violations,
    *,
    in_group: bool = False,
) -> Order:
    """Return what a capture request orders, every field checked, the camera's id included.

    In a group, pictures are never inline.
    """
    camera_id(request.camera, wrong)
    limit = inline_limit_bytes
    if request.HasField("max_inline_bytes"):
        limit = request.max_inline_bytes
        if limit < 1:
            wrong.add("max_inline_bytes", out_of_range(limit, "from 1"))
    for field in ("delivery", "busy_policy"):
        check_enum(request, field, wrong)
    inline = request.delivery != api.CaptureRequest.DELIVERY_REFERENCE and not in_group
    return Order(
        shot=shot(request, wrong),
        request_id=request_id(request.request_id, wrong),
        labels=labels(request.labels, wrong),
        inline_bytes=limit if inline else 0,
        wait=request.busy_policy == api.CaptureRequest.BUSY_POLICY_WAIT,
        caller=caller,
    )


def group(request: api.CaptureGroupRequest, caller: Caller, wrong: Violations) -> list[Order]:
    """Return what a group's requests order, in their order."""
    if not request.requests:
        wrong.add("requests", "none is given; allowed: one for each camera, from 1 on")
    orders, cameras = [], set()
    for index, member in enumerate(request.requests):
        inside = wrong.within(f"requests[{index}]")
        orders.append(order(member, caller, 0, inside, in_group=True))
        if member.camera in cameras:
            name = short(member.camera)
            inside.add("camera", f"{name} is given twice; allowed: one request per camera")
        cameras.add(member.camera)
    return orders


def _within(message: Message, field: str, maximum: int, wrong: Violations) -> int | None:
    if not message.HasField(field):
        return None
    value: int = getattr(message, field)
    if not 1 <= value <= maximum:
        wrong.add(field, out_of_range(value, f"from 1 to {maximum}"))
    return value


def check_enum(message: Message, field: str, wrong: Violations) -> str:
    """Return the name of the value of an enum field; "" where it is unset or not known."""
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    known = {} if enum is None else {each.number: each.name for each in enum.values}
    value: int = getattr(message, field)
    if value not in known:
        names = ", ".join(name for number, name in known.items() if number)
        wrong.add(field, f"{value} is not known; allowed: {names}")
    return known.get(value, "") if value else ""
