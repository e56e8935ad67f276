"""The wait between two tries to bring a camera back: bounded, and with the worker that there is."""

from collections.abc import Iterator

import pytest

from camsvc.camera.recovery import BACK_OFF_LAST_S, RecoverySteps, Step
from camsvc.model.errors import DriverError
from camsvc.model.lifecycle import State
from tests.support.fakeworkers import Rig

ILL_S = 300.0
WAITS = {0: 1, 40: 1, 120: 3, 600: 15, 1200: 30, 86_400: 30}
"""By how long the camera has been ill, in seconds."""


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


async def begin(rig: Rig) -> None:
    """Begin opening the camera."""
    rig.camera.open()


def state(rig: Rig) -> State:
    return rig.view.state


def test_the_wait_is_a_share_of_the_outage_within_limits() -> None:
    ladder, begun = RecoverySteps(), 1000.0

    def at(ill_s: float) -> tuple[Step, float]:
        return ladder.next(DriverError("ill"), device_open=True, now=begun + ill_s)

    assert [at(0) for _ in range(3)] == [
        (rung, 0.0) for rung in (Step.SOFT_RETRY, Step.REOPEN, Step.RESTART)
    ]
    assert {ill_s: at(ill_s) for ill_s in WAITS} == {
        ill_s: (Step.BACK_OFF, wait_s) for ill_s, wait_s in WAITS.items()
    }


def test_a_device_that_stays_ill_is_tried_by_the_same_worker(rig: Rig) -> None:
    """A worker whose driver only says no is as good as a new one."""
    rig.script = ["error"] * 10_000
    rig.run(begin(rig))
    rig.wait(ILL_S)
    assert state(rig) is State.RECOVERING
    tries = rig.view.recoveries[Step.BACK_OFF].count
    assert tries >= ILL_S // (BACK_OFF_LAST_S + 1)
    assert len(rig.workers) == 2, "the first, and that of RESTART"
    rig.script.clear()
    rig.wait(BACK_OFF_LAST_S + 1)
    assert state(rig) is State.READY


@pytest.mark.parametrize("deed", ["hang", "die"])
def test_a_worker_that_hung_or_died_is_replaced_after_the_wait(rig: Rig, deed: str) -> None:
    rig.script = [deed] * 5
    rig.run(begin(rig))
    rig.wait(ILL_S)
    assert state(rig) is State.READY
    assert len(rig.workers) == 6
