"""Completion of camera ids: the shell asks the service."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from camsvc_client import DEFAULT_ADDRESS, NEVER, CameraClient, CamsvcError

_WAIT_S = 1.0


def camera_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Return the ids that begin so; none when the service does not answer at once."""
    address = context.params.get("address")
    if address is None and context.parent is not None:
        address = context.parent.params.get("address")
    address = address or os.environ.get("CAMSVC_ADDRESS") or DEFAULT_ADDRESS
    try:
        with CameraClient(address, retry=NEVER) as client:
            cameras = client.list_cameras(timeout=_WAIT_S)
    except (CamsvcError, ValueError):
        return []
    return [camera.camera for camera in cameras if camera.camera.startswith(incomplete)]


Camera = Annotated[
    str, typer.Argument(metavar="CAMERA", help="The camera's id.", autocompletion=camera_ids)
]
Cameras = Annotated[
    list[str],
    typer.Argument(metavar="CAMERA...", help="The cameras' ids.", autocompletion=camera_ids),
]
OnlyCamera = Annotated[
    str | None,
    typer.Option("--camera", "-c", metavar="ID", help="Only this.", autocompletion=camera_ids),
]
