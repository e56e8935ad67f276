"""Requests about captures that are kept, made into plain values, each field checked."""

import base64
import binascii
import hashlib
import json
import re
import struct

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from google.protobuf.timestamp_pb2 import Timestamp

from camsvc.api import requests
from camsvc.api.requests import out_of_range, short
from camsvc.model.errors import InvalidRequest
from camsvc.model.records import CaptureRecord, CaptureState, Filter

_CAPTURE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PAGE_SIZE, _MAX_PAGE_SIZE = 50, 1000
_LAST_NS = 253_402_300_800 * 10**9
"""The end of the year 9999, where Timestamps end."""

_POSITION = struct.Struct(">qq")
_MARK_BYTES = 8

Position = tuple[int, int]


def capture_id(value: str) -> str:
    """Return a well-formed capture id."""
    if not _CAPTURE_ID.fullmatch(value):
        raise InvalidRequest(
            "capture_id",
            f"{short(value)} is not a capture id; allowed: 1 to 64 characters of A-Z a-z 0-9 _ -",
        )
    return value


def captures_filter(request: api.ListCapturesRequest) -> Filter:
    """Return the filter that captures must pass."""
    start_ns, end_ns = _time(request, "start_time"), _time(request, "end_time")
    if start_ns is not None and end_ns is not None and start_ns > end_ns:
        raise InvalidRequest(
            "end_time",
            f"{request.end_time.ToJsonString()} is before start_time "
            f"{request.start_time.ToJsonString()}; allowed: the same or later",
        )
    return Filter(
        camera=requests.camera_id(request.camera) if request.camera else "",
        labels=requests.labels(request.labels),
        start_ns=start_ns,
        end_ns=end_ns,
        states=[_state(index, value) for index, value in enumerate(request.states)],
    )


def page_size(request: api.ListCapturesRequest) -> int:
    """Return the most captures that a page holds."""
    if request.page_size < 0:
        raise out_of_range("page_size", request.page_size, f"0 ({_PAGE_SIZE}) and more")
    return min(request.page_size or _PAGE_SIZE, _MAX_PAGE_SIZE)


def page_token(position: Position, captures: Filter, secret: bytes) -> str:
    """Return the token of the page after a position, valid with these filters only."""
    place = _POSITION.pack(*position)
    return base64.urlsafe_b64encode(place + _mark(place, captures, secret)).decode().rstrip("=")


def position(token: str, captures: Filter, secret: bytes) -> Position | None:
    """Return the position that a page token stands for; None without a token."""
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
        place, mark = raw[: _POSITION.size], raw[_POSITION.size :]
        if _mark(place, captures, secret) == mark:
            time_ns, number = _POSITION.unpack(place)
            return time_ns, number
    except (binascii.Error, ValueError, struct.error):
        pass
    raise InvalidRequest(
        "page_token",
        f"{short(token)} was not given for these filters; allowed: none, or next_page_token of a "
        "response to the same camera, labels, times and states",
    )


def byte_range(request: api.DownloadImageRequest, size_bytes: int) -> range:
    """Return the bytes of a file that are asked for."""
    offset, limit = request.read_offset, request.read_limit
    if not 0 <= offset <= size_bytes:
        raise out_of_range("read_offset", offset, f"from 0 to the file's size, {size_bytes}")
    if limit < 0:
        raise out_of_range("read_limit", limit, "0 (up to the end) and more")
    return range(offset, min(size_bytes, offset + limit) if limit else size_bytes)


def wants_thumbnail(request: api.DownloadImageRequest) -> bool:
    """Return whether the thumbnail is asked for, not the picture itself."""
    requests.check_enum(request, "variant")
    thumbnail = request.variant == api.DownloadImageRequest.VARIANT_THUMBNAIL
    if thumbnail and request.part != 0:
        raise out_of_range("part", request.part, "0 with VARIANT_THUMBNAIL")
    return thumbnail


def part(request: api.DownloadImageRequest, record: CaptureRecord) -> int:
    """Return the number of the file that is asked for of a capture's."""
    last = len(record.files) - 1
    if not 0 <= request.part <= last:
        allowed = f"from 0 to {last}" if last else "0, as the capture has one file"
        raise out_of_range("part", request.part, allowed)
    return request.part


def after_sequence(request: api.CaptureEventsRequest, last: int) -> int | None:
    """Return the number of the event after which to begin; None: with the next one to come."""
    if not request.HasField("after_sequence"):
        return None
    if not 0 <= request.after_sequence <= last:
        raise InvalidRequest(
            "after_sequence",
            f"{request.after_sequence} is out of range; allowed: from 0 to the newest event, "
            f"{last}; beyond it, the history was replaced: begin with 0",
            metadata={"last_sequence": str(last)},
        )
    return request.after_sequence


def _time(request: api.ListCapturesRequest, field: str) -> int | None:
    if not request.HasField(field):  # type: ignore[arg-type]
        return None
    value: Timestamp = getattr(request, field)
    time_ns = value.seconds * 10**9 + value.nanos
    if not (0 <= value.nanos < 10**9 and 0 <= time_ns < _LAST_NS):
        raise InvalidRequest(
            field,
            f"{value.seconds} s and {value.nanos} ns is not a time; allowed: from 1970 to 9999, "
            "with nanos from 0 to 999999999",
        )
    return time_ns


def _state(index: int, value: "pb.Capture.State.ValueType") -> CaptureState:
    try:
        return CaptureState(pb.Capture.State.Name(value).removeprefix("STATE_"))
    except ValueError:
        allowed = ", ".join(f"STATE_{state.value}" for state in CaptureState)
        raise InvalidRequest(
            f"states[{index}]", f"{value} is not a state; allowed: {allowed}"
        ) from None


def _mark(place: bytes, captures: Filter, secret: bytes) -> bytes:
    """Return the proof that this service gave the position, for these filters."""
    states = sorted({state.value for state in captures.states})
    labels = sorted(captures.labels.items())
    filters = json.dumps([captures.camera, labels, captures.start_ns, captures.end_ns, states])
    return hashlib.blake2b(place + filters.encode(), key=secret, digest_size=_MARK_BYTES).digest()
