"""Promised times hold on a busy machine, and a product that is slow breaks them there too."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from camapi.v1 import camera_pb2 as pb

from tests.conftest import StartService
from tests.rpc.test_busy import refusals
from tests.rpc.test_startup import serving
from tests.support.live import Watcher
from tests.support.scenes import camera
from tests.support.timing import timing
from tests.support.waiting import until

SLOW = Path(__file__).parents[1] / "support" / "slow"
ENDLESS = [sys.executable, "-S", "-c", "while True: pass"]


@pytest.fixture
def busy() -> Iterator[None]:
    """Keep each core busy twice over."""
    loops = [subprocess.Popen(ENDLESS) for _ in range(2 * (os.cpu_count() or 1))]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


class Slow:
    """A time in which a service is slow."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "slow"

    def begin(self) -> None:
        self.path.touch()

    def end(self) -> None:
        self.path.unlink()


@pytest.fixture
def slow(tmp_path: Path) -> Slow:
    return Slow(tmp_path)


def slowly(**variables: object) -> tuple[str, ...]:
    """Return the command that runs a service which is slow in these ways."""
    return ("env", f"PYTHONPATH={SLOW}", *(f"{name}={value}" for name, value in variables.items()))


def compute(seconds: float) -> None:
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        pass


@pytest.mark.usefixtures("busy")
def test_waiting_for_a_processor_is_not_the_products_time() -> None:
    with timing(os.getpid()) as took:
        compute(0.3)
    took.assert_within(0.35)
    assert took.s > 0.35, "the machine is not busy"


@pytest.mark.usefixtures("busy")
def test_computing_or_sleeping_for_too_long_is() -> None:
    for work in (compute, time.sleep):
        with timing(os.getpid()) as took:
            work(0.5)
        with pytest.raises(AssertionError, match=r"took .* waited .* promised: 0.25"):
            took.assert_within(0.25)


async def test_a_wait_for_something_that_never_comes_ends() -> None:
    async def never() -> bool:
        return False

    with pytest.raises(AssertionError, match="not within 0.3 s: it comes"):
        await until(never, "it comes", within_s=0.3)


async def test_a_service_that_starts_late_is_noticed(start_service: StartService) -> None:
    with pytest.raises(AssertionError, match="promised"):
        await serving(start_service, camera(), entering=slowly(START_S=8))


async def test_a_service_whose_refusals_are_slow_is_noticed(
    start_service: StartService, slow: Slow
) -> None:
    service = await start_service(
        camera(capture_duration_s=30.0, attempt_timeout_s=60.0),
        entering=slowly(LOOP_S=0.01, SLOW_FROM=slow.path),
    )
    call = asyncio.create_task(service.capture(timeout=60))
    await service.wait_for_state(pb.Camera.STATE_CAPTURING)
    slow.begin()
    timings = await refusals(service, 20)
    call.cancel()
    await asyncio.wait([call])
    with pytest.raises(AssertionError, match="promised"):
        timings.assert_within(0.005, percent=99)


async def test_a_live_view_that_is_silent_for_too_long_is_noticed(
    start_service: StartService, slow: Slow
) -> None:
    service = await start_service(
        camera(open_duration_s=4.0), entering=slowly(LOOP_S=1.0, SLOW_FROM=slow.path)
    )
    await service.camera()
    slow.begin()
    with pytest.raises(AssertionError, match="without a word"):
        async with Watcher(service) as watcher:
            await watcher.until_frames(within_s=60)
    slow.end()
    with pytest.raises(AssertionError, match="waits"):
        watcher.assert_first_within(0.1)
