"""Requests about captures that are kept, made into plain values, each field checked."""

import base64
import binascii
import hashlib
import json
import re
import struct
from collections.abc import Sequence

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from google.protobuf.timestamp_pb2 import Timestamp

from camsvc.api import requests
from camsvc.api.violations import Violations, out_of_range
from camsvc.model.errors import InvalidRequest, short
from camsvc.model.records import CaptureRecord, CaptureState, Filter

_CAPTURE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PAGE_SIZE, _MAX_PAGE_SIZE = 50, 1000
_LAST_NS = 253_402_300_800 * 10**9
"""The end of the year 9999, where Timestamps end."""

_MIN_CHUNK_BYTES, _MAX_CHUNK_BYTES = 1 << 10, 1 << 20

_POSITION = struct.Struct(">qq")
_MARK_BYTES = 8

Position = tuple[int, int]


def capture_id(value: str, wrong: Violations) -> None:
    """Check a capture's id."""
    if not _CAPTURE_ID.fullmatch(value):
        wrong.add(
            "capture_id",
            f"{short(value)} is not a capture id; allowed: 1 to 64 characters of A-Z a-z 0-9 _ -",
        )


def captures_filter(request: api.ListCapturesRequest, wrong: Violations) -> Filter:
    """Return the filter that captures must pass."""
    start_ns, end_ns = (_time(request, field, wrong) for field in ("start_time", "end_time"))
    if start_ns is not None and end_ns is not None and start_ns > end_ns:
        wrong.add(
            "end_time",
            f"{request.end_time.ToJsonString()} is before start_time "
            f"{request.start_time.ToJsonString()}; allowed: the same or later",
        )
    if request.camera:
        requests.camera_id(request.camera, wrong)
    return Filter(
        camera=request.camera,
        labels=requests.labels(request.labels, wrong),
        start_ns=start_ns,
        end_ns=end_ns,
        states=_states(request.states, wrong),
    )


def page_size(request: api.ListCapturesRequest, wrong: Violations) -> int:
    """Return the most captures that a page holds."""
    if request.page_size < 0:
        wrong.add("page_size", out_of_range(request.page_size, f"0 ({_PAGE_SIZE}) and more"))
    return min(request.page_size or _PAGE_SIZE, _MAX_PAGE_SIZE)


def page_token(position: Position, captures: Filter, secret: bytes) -> str:
    """Return the token of the page after a position, valid with these filters only."""
    place = _POSITION.pack(*position)
    return base64.urlsafe_b64encode(place + _mark(place, captures, secret)).decode().rstrip("=")


def position(token: str, captures: Filter, secret: bytes, wrong: Violations) -> Position | None:
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
    wrong.add(
        "page_token",
        f"{short(token)} was not given for these filters; allowed: none, or next_page_token of a "
        "response to the same camera, labels, times and states",
    )
    return None


def check_download(request: api.DownloadImageRequest, wrong: Violations) -> None:
    """Check what can be checked before the file is known."""
    capture_id(request.capture_id, wrong)
    requests.check_enum(request, "variant", wrong)
    if request.part and wants_thumbnail(request):
        wrong.add("part", out_of_range(request.part, "0 with VARIANT_THUMBNAIL"))
    elif request.part < 0:
        wrong.add("part", out_of_range(request.part, "0 and more, up to the capture's last file"))
    if request.read_offset < 0:
        wrong.add(
            "read_offset", out_of_range(request.read_offset, "from 0 to the file's size, in bytes")
        )
    if request.read_limit < 0:
        wrong.add("read_limit", out_of_range(request.read_limit, "0 (up to the end) and more"))
    if not _MIN_CHUNK_BYTES <= chunk_bytes(request) <= _MAX_CHUNK_BYTES:
        allowed = f"from {_MIN_CHUNK_BYTES} to {_MAX_CHUNK_BYTES}"
        wrong.add("max_chunk_bytes", out_of_range(request.max_chunk_bytes, allowed))


def chunk_bytes(request: api.DownloadImageRequest) -> int:
    """Return the size of the messages that are asked for."""
    is_given = request.HasField("max_chunk_bytes")
    return request.max_chunk_bytes if is_given else _MAX_CHUNK_BYTES


def wants_thumbnail(request: api.DownloadImageRequest) -> bool:
    """Return whether the thumbnail is asked for, not the picture itself."""
    return request.variant == api.DownloadImageRequest.VARIANT_THUMBNAIL


def byte_range(request: api.DownloadImageRequest, size_bytes: int) -> range:
    """Return the bytes of a file that are asked for, of a request that is well-formed."""
    offset, limit = request.read_offset, request.read_limit
    if offset > size_bytes:
        allowed = f"from 0 to the file's size, {size_bytes}"
        raise InvalidRequest("read_offset", out_of_range(offset, allowed))
    return range(offset, min(size_bytes, offset + limit) if limit else size_bytes)


def part(request: api.DownloadImageRequest, record: CaptureRecord) -> int:
    """Return the number of the file that is asked for of a capture's."""
    last = len(record.files) - 1
    if request.part > last:
        allowed = f"from 0 to {last}" if last else "0, as the capture has one file"
        raise InvalidRequest("part", out_of_range(request.part, allowed))
    return request.part


def after_sequence(request: api.CaptureEventsRequest, last: int, wrong: Violations) -> int | None:
    """Return the number of the event after which to begin; None: with the next one to come."""
    if not request.HasField("after_sequence"):
        return None
    if not 0 <= request.after_sequence <= last:
        wrong.metadata["last_sequence"] = str(last)
        wrong.add(
            "after_sequence",
            f"{request.after_sequence} is out of range; allowed: from 0 to the newest event, "
            f"{last}; beyond it, the history was replaced: begin with 0",
        )
    return request.after_sequence


def _time(request: api.ListCapturesRequest, field: str, wrong: Violations) -> int | None:
    if not request.HasField(field):  # type: ignore[arg-type]
        return None
    value: Timestamp = getattr(request, field)
    time_ns = value.seconds * 10**9 + value.nanos
    if 0 <= value.nanos < 10**9 and 0 <= time_ns < _LAST_NS:
        return time_ns
    wrong.add(
        field,
        f"{value.seconds} s and {value.nanos} ns is not a time; allowed: from 1970 to 9999, "
        "with nanos from 0 to 999999999",
    )
    return None


def _states(
    values: "Sequence[pb.Capture.State.ValueType]", wrong: Violations
) -> list[CaptureState]:
    known = {f"STATE_{state.value}": state for state in CaptureState}
    states = []
    for index, value in enumerate(values):
        name = pb.Capture.State.Name(value) if value in pb.Capture.State.values() else ""
        if name in known:
            states.append(known[name])
        else:
            allowed = ", ".join(known)
            wrong.add(f"states[{index}]", f"{value} is not a state; allowed: {allowed}")
    return states


def _mark(place: bytes, captures: Filter, secret: bytes) -> bytes:
    """Return the proof that this service gave the position, for these filters."""
    states = sorted({state.value for state in captures.states})
    labels = sorted(captures.labels.items())
    filters = json.dumps([captures.camera, labels, captures.start_ns, captures.end_ns, states])
    return hashlib.blake2b(place + filters.encode(), key=secret, digest_size=_MARK_BYTES).digest()
