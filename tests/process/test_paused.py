"""A service that did not run for a while takes nobody else for hung."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from camapi.v1 import camera_pb2 as pb

from tests.conftest import StartService
from tests.support.endurance import FULL
from tests.support.live import Status, Watcher
from tests.support.scenes import camera
from tests.support.service import Service
from tests.support.timing import timing

PAUSED_S = 20.0 if FULL else 5.0
"""Much longer than any time-out of these cameras."""
LIVE_AGAIN_S = 1.0
SHOT_S = 1.5
SHORT: dict[str, Any] = {"attempt_timeout_s": 2.0, "open_timeout_s": 3.0, "stall_timeout_s": 1.0}


@asynccontextmanager
async def paused(service: Service) -> AsyncIterator[None]:
    """Stop all processes of a service for the block, as a suspended machine does."""
    processes = [service.ps, *service.workers()]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


@pytest.mark.timed
async def test_a_pause_in_the_middle_of_a_still_and_of_live_view(
    start_service: StartService,
) -> None:
    """No worker is killed, the still is kept at its first attempt, and live view goes on.

    Also that of the camera that takes the still, as soon as it has.
    """
    service = await start_service(
        camera("shoots", capture_duration_s=SHOT_S, **SHORT) + camera("shows", **SHORT)
    )
    await service.capture("shoots")
    silent_s = PAUSED_S + SHOT_S + LIVE_AGAIN_S
    async with (
        Watcher(service, "shows", heartbeat_s=silent_s) as watcher,
        Watcher(service, "shoots", heartbeat_s=silent_s) as other,
    ):
        for each in (watcher, other):
            await each.until_frames(5)
        workers = {worker.pid for worker in service.workers()}
        shot = asyncio.create_task(service.capture("shoots"))
        await service.wait_for_state(pb.Camera.STATE_CAPTURING, "shoots")
        async with paused(service):
            await asyncio.sleep(PAUSED_S)  # this is what is tried
        with timing() as took:
            await watcher.until_frames()
        took.assert_within(LIVE_AGAIN_S)
        assert (await shot).capture.attempts == 1
        with timing() as took:
            await other.until_frames()
        took.assert_within(LIVE_AGAIN_S)
        for each in (watcher, other):
            await each.until_frames(5)
            assert not each.count(Status.STATE_RECOVERING)
    assert workers <= {worker.pid for worker in service.workers()}
    assert not [e for e in service.log() if e["event"] in ("camera lost", "worker ended")]
