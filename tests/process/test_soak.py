"""Captures by the thousand with faults among them: none is lost, and nothing grows.

All two thousand: ENDURANCE=full.
"""

import itertools
import time

import psutil
import pytest

from tests.conftest import StartService
from tests.support import endurance
from tests.support.pictures import assert_fresh, number
from tests.support.scenes import HANGS, Table, camera, fault
from tests.support.service import CALL_S, named_memory, worker_memory

pytestmark = pytest.mark.timeout(endurance.TIMEOUT_S)

CAPTURES = endurance.times(2000)
WARM_UP = CAPTURES // 5
"""By then each kind of fault has struck once: caches are filled, and code is loaded."""
FAULT_EVERY = CAPTURES // 40
GROWTH_BYTES = 5 * 2**20
OVERHEAD_CALLS = 20
"""Attempts that faults cost are calls too; the script goes on behind the last capture."""

KINDS = ("crash", "error", "hang", "exit", "corrupt", "hang_gil", "stale", "ignore_sigterm_hang")
ATTEMPT_S = 0.6


def script() -> list[Table]:
    """A fault at each so many calls, each of another kind than the one before."""
    calls = range(FAULT_EVERY, CAPTURES + OVERHEAD_CALLS, FAULT_EVERY)
    return [fault(kind, at=at) for at, kind in zip(calls, itertools.cycle(KINDS), strict=False)]


async def test_captures_with_40_faults_lose_none_and_leave_nothing(
    start_service: StartService,
) -> None:
    assert set(HANGS) < set(KINDS)
    service = await start_service(
        camera(
            faults=script(),
            capture_duration_s=0.001,
            attempt_timeout_s=ATTEMPT_S,
            width_px=160,
            height_px=120,
        )
    )
    started, last, attempts, rss = time.monotonic(), 0, 0, 0
    for count in range(1, CAPTURES + 1):
        asked_ns = time.time_ns()
        response = await service.capture(timeout=CALL_S)
        assert_fresh(response, asked_ns=asked_ns, newer_than=last)
        last = number(response)
        attempts += response.capture.attempts
        if count == WARM_UP:
            rss = service.ps.memory_info().rss
    growth = service.ps.memory_info().rss - rss
    took_s = time.monotonic() - started
    print(f"{CAPTURES} captures in {took_s:.1f} s, RSS grew by {growth / 2**20:.2f} MiB")
    shown = (await service.camera()).camera
    assert (shown.statistics.captures_succeeded, shown.statistics.captures_failed) == (CAPTURES, 0)
    assert attempts - CAPTURES >= CAPTURES // FAULT_EVERY - 1, "the faults did strike"
    assert growth < GROWTH_BYTES
    workers = service.workers()
    assert len(workers) <= 2, "the camera's, and the warm one"
    assert worker_memory(service.ps.pid) == len(workers)
    assert named_memory(service.ps.pid, *(worker.pid for worker in workers)) == set()
    assert await service.stop() == 0
    assert psutil.wait_procs(workers, timeout=5)[1] == []
