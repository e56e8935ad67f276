"""A camera that is away is looked for at an even pace, in the worker that it has."""

import pytest

from camsvc.camera.capture import Order
from camsvc.camera.recovery import AWAY_S, BACK_OFF_FIRST_S, RecoverySteps, Step
from camsvc.model.errors import CameraUnavailable, DeviceAway, DriverError
from camsvc.model.lifecycle import State
from camsvc.model.values import Shot
from tests.support.fakeworkers import COMMAND_S, Rig

AWAY_TRIES = 50


def test_the_wait_for_it_does_not_grow() -> None:
    ladder = RecoverySteps()
    for now in range(AWAY_TRIES):
        looked = ladder.next(DeviceAway("gone"), device_open=False, now=60 * now)
        assert looked == (Step.BACK_OFF, AWAY_S)


def test_one_that_was_just_open_is_looked_for_at_once() -> None:
    """A device that was silent for a moment is there again when it is opened again."""
    looked = RecoverySteps().next(DeviceAway("gone"), device_open=True, now=0)
    assert looked == (Step.REOPEN, 0.0)


def test_what_else_is_wrong_begins_at_the_bottom() -> None:
    ladder = RecoverySteps()

    def after(error: DriverError, now: float) -> tuple[Step, float]:
        return ladder.next(error, device_open=True, now=now)

    ill, gone = DriverError("ill"), DeviceAway("gone")
    for rung in (Step.SOFT_RETRY, Step.REOPEN, Step.RESTART):
        assert after(ill, 0) == (rung, 0.0)
    assert after(ill, 200) == (Step.BACK_OFF, 5.0)
    after(gone, 200)
    for rung in (Step.SOFT_RETRY, Step.REOPEN, Step.RESTART):
        assert after(ill, 300) == (rung, 0.0)
    assert after(ill, 301) == (Step.BACK_OFF, BACK_OFF_FIRST_S)


def test_it_is_found_soon_after_however_long_it_was_away() -> None:
    rig = Rig()
    rig.run(rig.camera.capture(Order(Shot()), 5))
    first = rig.worker
    # The first is a still's; then of each try closing and opening. After the last it is there.
    rig.script += ["away", *["well", "away"] * AWAY_TRIES]
    with pytest.raises(CameraUnavailable, match="is away: scripted"):
        rig.run(rig.camera.capture(Order(Shot()), 0.5))
    assert rig.view.state.value == "AWAY"
    rig.wait((AWAY_TRIES - 1) * (AWAY_S + COMMAND_S))
    with pytest.raises(CameraUnavailable, match="scripted"):
        rig.run(rig.camera.capture(Order(Shot()), 0.01))
    rig.wait(3 * (AWAY_S + 2 * COMMAND_S))
    assert rig.view.state is State.READY
    assert rig.worker is first
    rig.close()


def test_what_did_not_open_is_not_had_back_softly() -> None:
    """Else the camera would count as ready with its device closed."""
    rig = Rig()
    rig.run(rig.camera.capture(Order(Shot()), 5))
    rig.script += ["away", "well", "away", "well", "error"]
    with pytest.raises(CameraUnavailable, match="is away: scripted"):
        rig.run(rig.camera.capture(Order(Shot()), 0.5))
    rig.wait(5)
    assert rig.view.state is State.READY
    assert [r for r, s in rig.view.recoveries.items() if s.count] == [
        Step.REOPEN,
        Step.BACK_OFF,
    ]
    rig.close()
