"""A warm worker waits to take a lost one's place: that takes a moment instead of a start."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NoReturn

import psutil
import pytest
from structlog.testing import capture_logs

from camsvc.camera.camera import Camera
from camsvc.camera.capture import Order
from camsvc.camera.observer import CameraObserver
from camsvc.config.cameras import parse_camera
from camsvc.ipc import messages as m
from camsvc.model.lifecycle import State
from camsvc.model.options import Launch
from camsvc.model.values import Shot
from camsvc.storage.archive import Archive
from camsvc.worker_pool.pool import WorkerPool
from camsvc.worker_pool.process import WorkerProcess
from tests.support.timing import timing
from tests.support.waiting import until, workers_gone

SUPPORT = Path(__file__).parents[1] / "support"
LAUNCH = Launch("camsvc.drivers.simulated.camera:SimulatedCamera")
START_S = 60.0
QUICK_S = 0.05
ENDED_S = 60.0


@pytest.fixture
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(**getattr(request, "param", {}))
    yield pool
    async with asyncio.timeout(ENDED_S):
        await pool.close()
    await workers_gone()


async def warm(pool: WorkerPool, *taken: WorkerProcess) -> psutil.Process:
    """Wait for the warm worker, the only one that is not `taken`."""

    async def there() -> bool:
        return pool.has_warm(LAUNCH)

    await until(there, "a worker is warm", within_s=START_S)
    known = {worker.pid for worker in taken}
    ours = (p for p in psutil.Process().children() if LAUNCH.driver in p.cmdline())
    (process,) = (p for p in ours if p.pid not in known)  # beside other tests' shared services
    return process


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
    waiting = await warm(pool, first)
    with timing() as took:
        second = await pool.take(LAUNCH)
    took.assert_within(QUICK_S)
    assert second.pid == waiting.pid
    await warm(pool, first, second)
    await end(first, second)


async def test_a_warm_worker_that_died_is_not_handed_out(pool: WorkerPool) -> None:
    pool.warm(LAUNCH)
    dead = await warm(pool)
    dead.kill()

    async def noticed() -> bool:
        return not pool.has_warm(LAUNCH)

    await until(noticed, "its end is noticed")
    worker = await pool.take(LAUNCH)
    assert worker.pid != dead.pid
    await worker.call(m.Ping(), 5)
    await end(worker)


@pytest.mark.parametrize("pool", [{"retry_s": 0.1}], indirect=True)
async def test_a_warm_up_that_fails_by_an_unforeseen_error_is_logged_and_tried_again(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = 0

    async def fail(*_: object, **__: object) -> NoReturn:
        nonlocal failed
        failed += 1
        raise ZeroDivisionError

    async def twice() -> bool:
        return failed == 2

    with capture_logs() as logs, monkeypatch.context() as patch:
        patch.setattr(WorkerProcess, "start", fail)
        pool.warm(LAUNCH)
        await until(twice, "it is tried again")
    assert logs[0]["event"] == "unhandled exception in a warm-up"
    await warm(pool)


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


def kill(worker: WorkerProcess, _: pytest.MonkeyPatch) -> None:
    os.kill(worker.pid, signal.SIGKILL)


def stop(worker: WorkerProcess, _: pytest.MonkeyPatch) -> None:
    os.kill(worker.pid, signal.SIGSTOP)


def break_supervision(_: WorkerProcess, patch: pytest.MonkeyPatch) -> None:
    def fail() -> NoReturn:
        raise ZeroDivisionError

    patch.setattr(m, "Ping", fail)


@pytest.mark.parametrize("lose", [kill, stop, break_supervision])
@pytest.mark.parametrize("pool", [{"liveness_interval_s": 0.3}], indirect=True)
async def test_an_idle_cameras_worker_that_is_lost_is_replaced_without_a_call(
    pool: WorkerPool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lose: Callable[[WorkerProcess, pytest.MonkeyPatch], None],
) -> None:
    options = parse_camera({"id": "sim0", "driver": "simulated"}).camera_options
    taken: list[WorkerProcess] = []

    async def take() -> WorkerProcess:
        taken.append(await pool.take(LAUNCH))
        return taken[-1]

    archive = await Archive.open(tmp_path)
    states: list[State] = []

    class States(CameraObserver):
        def on_state_changed(self, camera: str, state: State) -> None:
            states.append(state)

    camera = Camera(options, take, archive.captures, [States()])
    await camera.capture(Order(Shot()), START_S)
    await warm(pool, *taken)
    states.clear()

    async def lost() -> bool:
        return State.RECOVERING in states

    async def back() -> bool:
        return states == [State.RECOVERING, State.READY]

    with monkeypatch.context() as patch:
        lose(taken[-1], patch)
        await until(lost, "its loss is noticed")
    await until(back, "the camera is back")
    assert taken[0].pid != taken[1].pid
    await camera.capture(Order(Shot()), START_S)
    await camera.close()
    await archive.close()
    await end(*taken)
