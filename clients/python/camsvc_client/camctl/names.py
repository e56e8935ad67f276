"""How files are called."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

from camapi.v1 import camera_pb2 as pb

from camsvc_client.images import extension


def path(wanted: Path | None, capture: pb.Capture, mime_type: str, *, suffix: str = "") -> Path:
    """Return where a picture goes: as wanted, or under the camera's name and the time of it."""
    if wanted is not None and not wanted.is_dir():
        return wanted
    taken = capture.acquisition_time.ToDatetime(UTC).astimezone()
    name = f"{capture.camera}-{taken:%Y%m%d-%H%M%S}-{taken.microsecond // 1000:03d}{suffix}"
    return (wanted or Path()) / f"{name}{extension(mime_type)}"
