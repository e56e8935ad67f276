"""Captures that hold a camera, and those that wait for it."""

import asyncio
from typing import Any

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from tests.support.history import WAIT
from tests.support.service import Service
from tests.support.waiting import until

Call = asyncio.Task[api.CaptureResponse]


async def held(service: Service, name: str = "sim0", **fields: Any) -> Call:
    """Begin a capture; the camera takes it by then."""
    call = asyncio.create_task(service.capture(name, **fields))
    await service.wait_for_state(pb.Camera.STATE_CAPTURING, name)
    return call


async def waits(service: Service, count: int, name: str = "sim0", **fields: Any) -> Call:
    """Begin a capture that waits; it is the last of so many by then."""
    call = asyncio.create_task(service.capture(name, busy_policy=WAIT, **fields))
    await queued(service, count, name)
    return call


async def queued(service: Service, count: int, name: str = "sim0") -> None:
    """Wait until so many captures wait for a camera."""

    async def there() -> bool:
        return (await service.camera(name)).camera.queued_captures == count

    await until(there, f"{count} captures wait")
