"""Several cameras in one call: all prepared, then all triggered."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from camsvc.camera.barrier import Barrier
from camsvc.camera.camera import Camera
from camsvc.camera.capture import CaptureResult, Order
from camsvc.camera.deadline import Deadline
from camsvc.camera.executor import Running
from camsvc.model.errors import CameraServiceError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GroupItem:
    """One camera's part: what is wanted of it."""

    camera: Camera
    order: Order


Result = CaptureResult | CameraServiceError


async def capture_group(items: Sequence[GroupItem], timeout_s: float | None) -> list[Result]:
    """Take a still with each camera, and return the result of each, in their order.

    The captures, all of different cameras, enter their cameras' queues at one instant: of two
    groups that share cameras, one comes before the other everywhere, and they cannot wait for each
    other.
    """
    deadlines = [item.camera.deadline(item.order, timeout_s) for item in items]
    results = await _existing(items, deadlines)
    barrier = Barrier()
    running: dict[int, Running[CaptureResult]] = {}
    for index, item in enumerate(items):
        if results[index] is None:
            try:
                running[index] = item.camera.enqueue(item.order, deadlines[index], barrier)
            except CameraServiceError as error:
                results[index] = error
    ended = await asyncio.gather(
        *(
            _result(items[i].camera.result(capture, deadlines[i].extended(barrier.longest_wait_s)))
            for i, capture in running.items()
        )
    )
    merged = dict(enumerate(results)) | dict(zip(running, ended, strict=True))
    return [result for result in merged.values() if result is not None]


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
        saved = [item.camera.saved_count for item in items]
        found = await asyncio.gather(
            *(
                _result(item.camera.find_existing(item.order, deadline))
                for item, deadline in zip(items, deadlines, strict=True)
            )
        )
        if saved == [item.camera.saved_count for item in items]:
            return list(found)


async def _result(work: Awaitable[T]) -> T | CameraServiceError:
    try:
        return await work
    except CameraServiceError as error:
        return error
