"""Client of the camera service: `AsyncCameraClient`, `CameraClient`, and what goes with them.

The messages they return are those of the contract: `camapi.v1.camera_pb2`. For the generated stubs
themselves there are `channel_options` and `error_info`.
"""

from camsvc_client.aio import DEFAULT_ADDRESS, AsyncCameraClient
from camsvc_client.blocking import BlockingStream, CameraClient
from camsvc_client.captures import Group, GroupResult
from camsvc_client.channel import (
    SERVICE_CONFIG,
    FieldViolation,
    RpcErrorInfo,
    channel_options,
    error_info,
    status_info,
)
from camsvc_client.errors import (
    CameraBusy,
    CameraFaulted,
    CameraNotFound,
    CameraUnavailable,
    CamsvcError,
    CaptureNotFound,
    CaptureTimeout,
    DeadlineExceeded,
    EventsMissed,
    Holder,
    ImageDamaged,
    InvalidRequest,
    PermissionDenied,
    QueueFull,
    RateLimited,
    RequestIdReused,
    ServiceFailed,
    ServiceUnreachable,
    StorageFull,
    StorageUnavailable,
    Unauthenticated,
    Unimplemented,
    Unsupported,
    from_info,
    from_status,
)
from camsvc_client.events import EventStream
from camsvc_client.images import Frame, Image, Picture
from camsvc_client.live import LiveState, LiveStatus
from camsvc_client.retry import NEVER, OnRetry, Retried, Retry
from camsvc_client.streams import Stream
from camsvc_client.target import Tls
from camsvc_client.values import (
    CaptureState,
    ControlValue,
    ImageFormat,
    Shot,
    WhenBusy,
    control_value,
    utc,
)

__all__ = [
    "DEFAULT_ADDRESS",
    "NEVER",
    "SERVICE_CONFIG",
    "AsyncCameraClient",
    "BlockingStream",
    "CameraBusy",
    "CameraClient",
    "CameraFaulted",
    "CameraNotFound",
    "CameraUnavailable",
    "CamsvcError",
    "CaptureNotFound",
    "CaptureState",
    "CaptureTimeout",
    "ControlValue",
    "DeadlineExceeded",
    "EventStream",
    "EventsMissed",
    "FieldViolation",
    "Frame",
    "Group",
    "GroupResult",
    "Holder",
    "Image",
    "ImageDamaged",
    "ImageFormat",
    "InvalidRequest",
    "LiveState",
    "LiveStatus",
    "OnRetry",
    "PermissionDenied",
    "Picture",
    "QueueFull",
    "RateLimited",
    "RequestIdReused",
    "Retried",
    "Retry",
    "RpcErrorInfo",
    "ServiceFailed",
    "ServiceUnreachable",
    "Shot",
    "StorageFull",
    "StorageUnavailable",
    "Stream",
    "Tls",
    "Unauthenticated",
    "Unimplemented",
    "Unsupported",
    "WhenBusy",
    "channel_options",
    "control_value",
    "error_info",
    "from_info",
    "from_status",
    "status_info",
    "utc",
]
