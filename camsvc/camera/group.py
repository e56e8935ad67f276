"""Several cameras in one call: all prepared, then all triggered."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from camsvc.camera.barrier import Barrier
from camsvc.camera.call import Call
from camsvc.camera.camera import Camera
from camsvc.camera.capture import CaptureResult, Order
from camsvc.camera.deadline import Deadline
from camsvc.model.errors import CameraServiceError

T = TypeVar("T")


GroupItem = tuple[Camera, Order]
"""One camera's part: what is wanted of it."""

Result = CaptureResult | CameraServiceError


async def capture_group(items: Sequence[GroupItem], timeout_s: float | None) -> list[Result]:
    """Take a still with each camera, and return the result of each, in their order.

    The captures, all of different cameras, enter their cameras' queues at one instant: of two
    groups that share cameras, one comes before the other everywhere, and they cannot wait for each
    other.
    """
    deadlines = [camera.deadline(order, timeout_s) for camera, order in items]
    barrier = Barrier()
    begun: list[Call[CaptureResult] | Result] = []
    existing = await _existing(items, deadlines)
    for (camera, order), deadline, found in zip(items, deadlines, existing, strict=True):
        try:
            begun.append(camera.enqueue(order, deadline, barrier) if found is None else found)
        except CameraServiceError as error:
            begun.append(error)

    async def end(
        camera: Camera, begun: Call[CaptureResult] | Result, deadline: Deadline
    ) -> Result:
        return await _result(camera.result(begun, deadline)) if isinstance(begun, Call) else begun

    cameras = [camera for camera, _ in items]
    return await asyncio.gather(*map(end, cameras, begun, deadlines))


def skew_s(results: Sequence[Result]) -> float | None:
    """Return the time between the first and the last picture taken; None of fewer than two."""
    times = [
        result.record.acquisition_time_ns
        for result in results
        if isinstance(result, CaptureResult) and not result.replayed
    ]
    return (max(times) - min(times)) / 1e9 if len(times) > 1 else None


async def _existing(
    items: Sequence[GroupItem], deadlines: Sequence[Deadline]
) -> list[Result | None]:
    """Return what is there without a shot; None for those whose shot has to be taken."""
    while True:
        saved = [camera.saved_count for camera, _ in items]
        found = await asyncio.gather(
            *(
                _result(camera.find_existing(order, deadline))
                for (camera, order), deadline in zip(items, deadlines, strict=True)
            )
        )
        if saved == [camera.saved_count for camera, _ in items]:
            return list(found)


async def _result(work: Awaitable[T]) -> T | CameraServiceError:
    try:
        return await work
    except CameraServiceError as error:
        return error
