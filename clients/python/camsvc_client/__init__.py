"""Client helpers for the camera service, beside the generated API in `camapi`."""

from camsvc_client.channel import (
    SERVICE_CONFIG,
    FieldViolation,
    RpcErrorInfo,
    channel_options,
    error_info,
)

__all__ = [
    "SERVICE_CONFIG",
    "FieldViolation",
    "RpcErrorInfo",
    "channel_options",
    "error_info",
]
