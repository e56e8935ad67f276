"""The wait between two tries to bring a camera back: bounded, and with the worker that there is."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from camsvc.errors import DriverError
from camsvc.lifecycle import State
from camsvc.recovery import Ladder, Rung
from tests.support.fakeworkers import OPTIONS, Rig

AWAY_S = 300.0
MakeRig = Callable[..., Rig]


@pytest.fixture
def make_rig() -> Iterator[MakeRig]:
    made: list[Rig] = []

    def make(**options: float) -> Rig:
        made.append(Rig(replace(OPTIONS, **options)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for rig in made:
        rig.close()


async def begin(rig: Rig) -> None:
    """Begin opening the camera."""
    rig.actor.supervisor.open()


def state(rig: Rig) -> State:
    return rig.actor.supervisor.state


@pytest.mark.parametrize(("limit_s", "waits"), [(30.0, [1, 2, 4, 8, 16, 30, 30]), (2.0, [1, 2, 2])])
def test_the_wait_is_doubled_up_to_its_limit(limit_s: float, waits: list[float]) -> None:
    ladder = Ladder(limit_s)
    error = DriverError("away")
    rungs = [ladder.next(error, device_open=True) for _ in range(3 + len(waits))]
    assert [rung for rung, _ in rungs[:3]] == [Rung.SOFT_RETRY, Rung.REOPEN, Rung.RESTART]
    assert rungs[3:] == [(Rung.BACK_OFF, wait_s) for wait_s in waits]


def test_a_device_that_stays_away_is_looked_for_by_the_same_worker(make_rig: MakeRig) -> None:
    """A worker whose driver only says no is as good as a new one."""
    rig = make_rig(back_off_limit_s=2.0)
    rig.script = ["error"] * 10_000
    rig.run(begin(rig))
    rig.wait(AWAY_S)
    assert state(rig) is State.RECOVERING
    tries = rig.actor.supervisor.ladder.statistics[Rung.BACK_OFF].count
    assert tries > 0.9 * AWAY_S / 2.5
    assert len(rig.workers) == 2, "the first, and that of RESTART"
    rig.script.clear()
    rig.wait(2.5)
    assert state(rig) is State.READY


@pytest.mark.parametrize("deed", ["hang", "die"])
def test_a_worker_that_hung_or_died_is_replaced_after_the_wait(
    make_rig: MakeRig, deed: str
) -> None:
    rig = make_rig()
    rig.script = [deed] * 5
    rig.run(begin(rig))
    rig.wait(AWAY_S)
    assert state(rig) is State.READY
    assert len(rig.workers) == 6
