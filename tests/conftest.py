"""What every test shares: a service to start, and a look at what it leaves behind."""

import asyncio
import contextlib
import ctypes
import inspect
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.rigs.picamera2.rig import RigCamera, cameras
from tests.rigs.side_by_side import pytest_xdist_make_scheduler  # noqa: F401 - a hook
from tests.support.canary import pytest_runtest_makereport  # noqa: F401 - a hook
from tests.support.left_out import pytest_terminal_summary  # noqa: F401 - a hook
from tests.support.loops import close_those_left
from tests.support.service import Service, worker_memory

GONE_S = 20.0
"""How long processes may take to go after the test."""

ENDING_S = 5.0
"""How long tasks that are about to end may take, such as gRPC's for a call that was refused."""

_PR_SET_CHILD_SUBREAPER = 36

StartService = Callable[..., Awaitable[Service]]


def pytest_xdist_auto_num_workers() -> int:
    """Run two tests at a time for each core: most wait for processes, or for a time-out."""
    return 2 * (os.cpu_count() or 1)


def pytest_configure() -> None:
    """Let Ctrl-C be heard, here and in what is started, also in a run in the background.

    A shell has such a run ignore it, and what a process ignores its children do, too.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of endurance, which have a time-out of their own.

    One process of pytest-xdist does these; what else it was given the others take meanwhile.
    """
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture(scope="session", autouse=True)
def _orphans_are_ours() -> None:
    """Make orphaned descendants this process's children, so that none is overlooked."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@pytest.fixture(autouse=True)
def _nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process, a descriptor of shared memory, a task or a loop behind.

    Of this process and its descendants only: others of the machine come and go meanwhile.
    """
    blocks = worker_memory()
    processes = set(psutil.Process().children(recursive=True))
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("_no_task_left")
    yield
    open_loops = close_those_left()
    _, left = psutil.wait_procs(_new_since(processes), timeout=GONE_S)
    described = [_described(process) for process in left]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert not described, f"processes left behind: {described}"
    assert worker_memory() == blocks, "a worker's memory is still held by this process"
    assert not open_loops, f"{open_loops} event loops were left open"


@pytest.fixture
async def _no_task_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=ENDING_S)
    assert not left, f"tasks left behind: {left}"


@pytest.fixture
async def start_service(tmp_path: Path) -> AsyncIterator[StartService]:
    """Give a function that starts a service with settings, as `Service`, for this test."""
    async with contextlib.AsyncExitStack() as stack:
        count = 0

        async def start(settings: str, **options: Any) -> Service:
            nonlocal count
            count += 1
            folder = tmp_path / f"service{count}"
            folder.mkdir()
            return await stack.enter_async_context(Service(folder, settings, **options))

        yield start


@pytest.fixture
def pi_cameras(tmp_path: Path) -> Sequence[RigCamera]:
    """Give the two cameras of the picamera2 rig, without a fault."""
    return cameras(tmp_path)


def _new_since(before: set[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that are new, but for those of a fixture that outlives the test."""
    new = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process not in before and process.parent() not in before:
                new.append(process)
    return new


def _described(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):
        return f"{process.pid} {' '.join(process.cmdline())}"
    return str(process.pid)
