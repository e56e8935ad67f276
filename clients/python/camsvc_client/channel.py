"""Options for a channel to the camera service, and its errors decoded.

Use: `grpc.aio.insecure_channel("127.0.0.1:50051", options=channel_options())`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

_SERVICE = "camapi.v1.CameraService"
_DOMAIN = "camsvc"
_STATUS_TRAILER = "grpc-status-details-bin"
_MOST_CHARACTERS = 1_000
"""Of an error's text: it ends in logs and on screens, whoever wrote it."""

MAX_RECEIVE_BYTES = 64 * 2**20
"""The largest message that a client takes by default, in bytes."""

# A call repeated under its `request_id`, or one that only reads or sets a state, does no harm.
# DeleteCapture and ResetCamera are left to the caller, the streams to a loop that resumes them.
_RETRIED = (
    "Capture",
    "CaptureGroup",
    "DiscoverCameras",
    "GetCamera",
    "GetCapture",
    "GetFrame",
    "ListCameras",
    "ListCaptures",
    "ListControls",
    "SetControls",
)

SERVICE_CONFIG: str = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": _SERVICE, "method": method} for method in _RETRIED],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.2s",
                    "maxBackoff": "5s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["RESOURCE_EXHAUSTED", "UNAVAILABLE"],
                },
            }
        ]
    }
)
"""The gRPC service config, as JSON: which calls the channel repeats by itself.

The wait before the next attempt is the one the service asks for (the trailer
`grpc-retry-pushback-ms`: when this camera should be free); the back-off given here applies only
where it asks for none. A negative one means: do not retry (storage full, or the wait would not fit
the deadline). gRPC caps `maxAttempts` at 5. For more, wait in the queue (`busy_policy` WAIT), or
repeat the call yourself after `RpcErrorInfo.retry_delay_s`.

A service config knows codes, not reasons, and RESOURCE_EXHAUSTED is not only "busy": gRPC also
answers it when too many calls are open, or when a reply is larger than the channel takes. The
latter is never repeated, as the reply had begun. A loop of your own should go by
`RpcErrorInfo.reason`.

Set `request_id` in every CaptureRequest: a connection lost in the middle is UNAVAILABLE too, and
only the id keeps the retry from taking a second picture.
"""


def channel_options(
    max_receive_bytes: int = MAX_RECEIVE_BYTES,
    *,
    live_view: bool = False,
    retries: bool = True,
    http_proxy: bool = False,
) -> list[tuple[str, int | str]]:
    """Give the options for `grpc.insecure_channel` and its kin, blocking or asyncio.

    For users of the generated stubs; `AsyncCameraClient` and `CameraClient` set them themselves.

    `live_view` is for a channel of LiveView alone, whose reader may be slower than the camera.
    By default gRPC lets some 4 MB of a stream wait in the transport, which at a frame a second are
    minutes; with it, two or three frames. On a distant network that costs throughput: use another
    channel for DownloadImage.

    `max_receive_bytes` is the largest message taken, in bytes (gRPC's default is 4 MiB). The
    service does not learn of it: set `CaptureRequest.max_inline_bytes` to 64 KiB less.

    `retries` False is for a caller that repeats calls itself, by `RpcErrorInfo.reason`.

    `http_proxy` takes the proxy that `http_proxy` names in the environment. It is meant for the
    web; a camera's service is on this machine or near it, where no proxy finds it.

    Example:
        with grpc.insecure_channel("127.0.0.1:50051", options=channel_options()) as channel:
            cameras = CameraServiceStub(channel).ListCameras(api.ListCamerasRequest()).cameras
    """
    options: list[tuple[str, int | str]] = [
        # gRPC would wait up to two minutes between its attempts to connect: a service that is back
        # after a restart is to be found at once.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 200),
        # How long an attempt to connect may take, which is 20 s otherwise.
        ("grpc.min_reconnect_backoff_ms", 5_000),
        # gRPC would keep the address of a name for 30 s: a service that has moved is to be found.
        ("grpc.dns_min_time_between_resolutions_ms", 500),
        ("grpc.enable_http_proxy", int(http_proxy)),
        ("grpc.max_receive_message_length", max_receive_bytes),
        ("grpc.enable_retries", int(retries)),
    ]
    if retries:
        options.append(("grpc.service_config", SERVICE_CONFIG))
    if live_view:
        options.append(("grpc.http2.bdp_probe", 0))
    return options


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of the request that was refused.

    Example:
        for violation in error.violations:
            print(violation.field, violation.description)
    """

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class RpcErrorInfo:
    """What an error of an RPC says.

    `reason` is one of those listed at CameraService in the API, such as "CAMERA_BUSY"; None for an
    error that did not come from the service itself (connection lost, deadline passed, a proxy).
    `retry_delay_s` is when to come back, in seconds; None if the service names no time.

    Example:
        if info.reason == "CAMERA_BUSY":
            time.sleep(info.retry_delay_s or 1.0)
    """

    code: grpc.StatusCode
    reason: str | None
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_delay_s: float | None = None
    field_violations: tuple[FieldViolation, ...] = ()


def error_info(error: grpc.RpcError) -> RpcErrorInfo:
    """Decode an error raised by a call, blocking or asyncio. Never raises itself.

    Example:
        try:
            cameras.Capture(request, timeout=30)
        except grpc.RpcError as error:
            print(error_info(error).reason)
    """
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return RpcErrorInfo(grpc.StatusCode.UNKNOWN, None, str(error))
    trailers = dict(iter(error.trailing_metadata() or ()))
    return _info(error.code(), error.details() or "", trailers.get(_STATUS_TRAILER, b""))


def status_info(status: Status) -> RpcErrorInfo:
    """Decode an error that is part of an answer, such as `Capture.error` or `Camera.fault`.

    Example:
        print(status_info(capture.error).reason)
    """
    code = next((c for c in grpc.StatusCode if c.value[0] == status.code), grpc.StatusCode.UNKNOWN)
    return _info(code, status.message, status.SerializeToString())


def _info(code: grpc.StatusCode, message: str, status: str | bytes) -> RpcErrorInfo:
    """Decode an error, with the details of a serialised google.rpc.Status that are ours."""
    if len(message) > _MOST_CHARACTERS:
        message = message[: _MOST_CHARACTERS - 1] + "…"
    info, retry, bad = ErrorInfo(), RetryInfo(), BadRequest()
    try:
        details = Status.FromString(status if isinstance(status, bytes) else b"").details
        found = [any(detail.Unpack(kind) for detail in details) for kind in (info, retry, bad)]
    except DecodeError:  # a broken proxy: gRPC's own text is still useful
        return RpcErrorInfo(code, None, message)
    ours = found[0] and info.domain == _DOMAIN
    return RpcErrorInfo(
        code=code,
        reason=info.reason if ours else None,
        message=message,
        metadata=dict(info.metadata) if ours else {},
        retry_delay_s=retry.retry_delay.ToNanoseconds() / 1e9 if found[1] else None,
        field_violations=tuple(
            FieldViolation(v.field, v.description) for v in bad.field_violations
        ),
    )
