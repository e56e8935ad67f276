"""A warm worker waits to take a lost one's place: that takes a moment instead of a start."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from camsvc.camera.camera import Camera
from camsvc.camera.capture import Order
from camsvc.camera.observer import CameraObserver
from camsvc.ipc import messages as m
from camsvc.model.lifecycle import State
from camsvc.model.options import Launch
from camsvc.model.values import Shot
from camsvc.storage.archive import Archive
from camsvc.worker_pool.pool import WorkerPool
from camsvc.worker_pool.process import WorkerProcess
from tests.support.options import camera_options
from tests.support.timing import timing
from tests.support.waiting import until, workers_gone

SUPPORT = Path(__file__).parents[1] / "support"
LAUNCH = Launch("camsvc.drivers.simulated.camera:SimulatedCamera")
START_S = 20.0
QUICK_S = 0.05
ENDED_S = 5.0


@pytest.fixture
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(**getattr(request, "param", {}))
    yield pool
    async with asyncio.timeout(ENDED_S):
        await pool.close()
    await workers_gone()


async def warm(pool: WorkerPool) -> WorkerProcess:
    """Wait for the warm worker."""

    async def there() -> bool:
        return bool(pool._warm.get(LAUNCH))

    await until(there, "a worker is warm", within_s=START_S)
    return pool._warm[LAUNCH][0]


async def end(*workers: WorkerProcess) -> None:
    for worker in workers:
        worker.kill("the test is over")
        async with asyncio.timeout(ENDED_S):
            await worker.wait_ended()


@pytest.mark.timed
async def test_the_warm_worker_is_handed_out_at_once_and_another_is_made(
    pool: WorkerPool,
) -> None:
    first = await pool.take(LAUNCH)
    waiting = await warm(pool)
    with timing() as took:
        second = await pool.take(LAUNCH)
    took.assert_within(QUICK_S)
    assert second is waiting
    assert (await warm(pool)).pid not in (first.pid, second.pid)
    await end(first, second)


async def test_a_warm_worker_that_died_is_not_handed_out(pool: WorkerPool) -> None:
    pool.warm(LAUNCH)
    dead = await warm(pool)
    os.kill(dead.pid, signal.SIGKILL)
    async with asyncio.timeout(ENDED_S):
        await dead.wait_ended()
    worker = await pool.take(LAUNCH)
    assert worker.pid != dead.pid
    await worker.call(m.Ping(), 5)
    await end(worker)


@pytest.mark.parametrize("pool", [{"start_s": 0.2}], indirect=True)
async def test_drivers_that_hang_when_imported_keep_no_other_worker_from_starting(
    pool: WorkerPool,
) -> None:
    for count in range(6):
        env = {"PYTHONPATH": str(SUPPORT), "COUNT": str(count)}
        pool.warm(Launch.of("hangs_in_import:Driver", None, env))
    async with asyncio.timeout(START_S):
        worker = await pool.take(LAUNCH)
    await end(worker)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "is stopped"])
@pytest.mark.parametrize("pool", [{"liveness_interval_s": 0.3}], indirect=True)
async def test_an_idle_cameras_worker_that_is_lost_is_replaced_without_a_call(
    pool: WorkerPool, tmp_path: Path, number: int
) -> None:
    options = camera_options("sim0", "simulated")
    taken = []

    async def take() -> WorkerProcess:
        taken.append(await pool.take(LAUNCH))
        return taken[-1]

    archive = await Archive.open(tmp_path)
    states: list[State] = []

    class States(CameraObserver):
        def on_state_changed(self, camera: str, state: State) -> None:
            states.append(state)

    actor = Camera(options, take, archive, [States()])
    await actor.capture(Order(Shot()), START_S)
    await warm(pool)
    states.clear()
    os.kill(taken[-1].pid, number)

    async def back() -> bool:
        return states == [State.RECOVERING, State.READY]

    await until(back, "the camera is back")
    assert taken[0].pid != taken[1].pid
    await actor.capture(Order(Shot()), START_S)
    await actor.close()
    await archive.close()
    await end(*taken)
