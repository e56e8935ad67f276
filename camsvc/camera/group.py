"""Several cameras in one call: all made ready, then all triggered."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from camsvc.camera.barrier import Meeting
from camsvc.camera.camera import CameraActor
from camsvc.camera.capture import CaptureJob, Order, Taken
from camsvc.model.errors import CameraServiceError


@dataclass(frozen=True, slots=True)
class Member:
    """One camera's part: what is wanted of it."""

    actor: CameraActor
    order: Order


T = TypeVar("T")

Outcome = Taken | CameraServiceError


async def capture_group(members: Sequence[Member], timeout_s: float | None) -> list[Outcome]:
    """Take a still with each camera, and return what became of each, in their order.

    The members, all of different cameras, enter their cameras' lines at one instant: of two groups
    that share cameras, one comes before the other everywhere, and they cannot wait for each other.
    """
    outcomes = await _found(members, timeout_s)
    meeting = Meeting()
    jobs: dict[int, CaptureJob] = {}
    for index, member in enumerate(members):
        if outcomes[index] is None:
            try:
                jobs[index] = member.actor.enter(member.order, timeout_s, meeting)
            except CameraServiceError as error:
                outcomes[index] = error
    for job in jobs.values():
        if not job.asked:  # else it was joined, and is in no meeting of ours
            job.worst_s += meeting.bound_s
    results = (members[i].actor.result(job, timeout_s) for i, job in jobs.items())
    ended = await asyncio.gather(*map(_outcome, results))
    merged = dict(enumerate(outcomes)) | dict(zip(jobs, ended, strict=True))
    return [outcome for outcome in merged.values() if outcome is not None]


def skew_s(outcomes: Sequence[Outcome]) -> float | None:
    """Return the time between the first and the last picture taken; None of fewer than two."""
    times = [
        outcome.record.acquisition_time_ns
        for outcome in outcomes
        if isinstance(outcome, Taken) and not outcome.replayed
    ]
    return (max(times) - min(times)) / 1e9 if len(times) > 1 else None


async def _found(members: Sequence[Member], timeout_s: float | None) -> list[Outcome | None]:
    """Return what is there without a shot; None for those whose shot has to be taken."""
    while True:
        kept = [member.actor.kept for member in members]
        found = await asyncio.gather(*(_outcome(m.actor.find(m.order, timeout_s)) for m in members))
        if kept == [member.actor.kept for member in members]:
            return list(found)


async def _outcome(work: Awaitable[T]) -> T | CameraServiceError:
    try:
        return await work
    except CameraServiceError as error:
        return error
