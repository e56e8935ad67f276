"""Several cameras in one call, against workers that may do anything, in virtual time."""

import asyncio
from collections.abc import Iterator

import pytest

from camsvc.camera.capture import CaptureResult, Order
from camsvc.camera.deadline import worst_case_s
from camsvc.camera.group import Result, capture_group, skew_s
from camsvc.model.errors import (
    CameraBusy,
    CameraFaulted,
    CameraServiceError,
    CameraUnavailable,
    RequestIdReused,
    Unsupported,
)
from camsvc.model.records import CaptureState
from camsvc.model.values import Shot
from tests.support.fakeworkers import COMMAND_S, SLOW_S, TICK_S, WELL, Call, FakeCamera, Stage
from tests.support.options import camera_options

ATTEMPT_S, OPEN_S = 10.0, 15.0
ORDER, WAITING = Order(Shot()), Order(Shot(), wait=True)


def camera(stage: Stage, name: str) -> FakeCamera:
    options = camera_options(
        name, attempts=2, attempt_timeout_s=ATTEMPT_S, open_timeout_s=OPEN_S, queue_limit=3
    )
    return FakeCamera(stage, options)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def left(stage: Stage) -> FakeCamera:
    return camera(stage, "left")


@pytest.fixture
def right(stage: Stage) -> FakeCamera:
    return camera(stage, "right")


def begin(
    stage: Stage, *cameras: FakeCamera, order: Order = ORDER, timeout_s: float | None = None
) -> Call:
    """Begin a group that asks the same of each camera."""
    members = [(fake.camera, order) for fake in cameras]
    return stage.begin(capture_group(members, timeout_s), timeout_s or 1000)


def outcomes(stage: Stage, *cameras: FakeCamera, order: Order = ORDER) -> list[Result]:
    """Take a group; return what became of it."""
    call = begin(stage, *cameras, order=order)
    found: list[Result] = stage.run(wait_for(call))
    return found


async def wait_for(call: Call) -> list[Result]:
    outcomes: list[Result] = await call.task
    return outcomes


def open_all(stage: Stage, *cameras: FakeCamera) -> None:
    """Take one still with each, so that all are open."""
    for fake in cameras:
        stage.run(fake.camera.capture(ORDER))
        fake.pressed.clear()
        fake.shots = 0


def kinds(found: list[Result]) -> list[type[CaptureResult] | type[CameraServiceError]]:
    return [type(outcome) for outcome in found]


def test_all_are_made_ready_before_any_is_triggered(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    open_all(stage, left)
    right.script = [WELL, "slow"]
    begun = stage.loop.time()
    found = outcomes(stage, left, right)
    ready = begun + COMMAND_S + SLOW_S + COMMAND_S
    assert left.pressed == right.pressed == [pytest.approx(ready, abs=TICK_S)]
    assert skew_s(found) == 0
    assert kinds(found) == [CaptureResult, CaptureResult]


def test_one_that_hangs_while_it_is_made_ready_holds_the_others_for_its_own_time_out(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    open_all(stage, left, right)
    left.script = ["hang"]
    begun = stage.loop.time()
    found = outcomes(stage, left, right)
    assert right.pressed == [pytest.approx(begun + ATTEMPT_S, abs=TICK_S)]
    assert kinds(found) == [CaptureResult, CaptureResult], (
        "the one that hung comes later, on its own"
    )
    assert left.pressed[0] > right.pressed[0]
    skew = skew_s(found)
    assert skew == pytest.approx(left.pressed[0] - right.pressed[0])


def test_one_that_hangs_while_it_is_opened_holds_the_others_for_its_own_time_out(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    open_all(stage, right)
    left.script = ["hang"]
    begun = stage.loop.time()
    found = outcomes(stage, left, right)
    assert right.pressed == [pytest.approx(begun + OPEN_S, abs=TICK_S)]
    assert kinds(found) == [CaptureResult, CaptureResult]


def test_one_whose_camera_stays_away_is_not_waited_for(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    open_all(stage, right)
    left.script = ["error"] * 8
    begun = stage.loop.time()
    found = outcomes(stage, left, right)
    assert kinds(found) == [CameraUnavailable, CaptureResult] or kinds(found) == [
        CaptureResult,
        CaptureResult,
    ]
    assert right.pressed[0] - begun < 1, "as soon as it is known, not after the time to open it"


@pytest.mark.parametrize(
    ("deed", "error"),
    [("refuse", Unsupported), ("fault", CameraFaulted)],
)
def test_one_that_fails_for_good_is_not_waited_for(
    stage: Stage, left: FakeCamera, right: FakeCamera, deed: str, error: type[Exception]
) -> None:
    open_all(stage, left, right)
    left.script = [deed]
    begun = stage.loop.time()
    found = outcomes(stage, left, right)
    assert kinds(found) == [error, CaptureResult]
    assert right.pressed[0] - begun < 2 * COMMAND_S + TICK_S
    assert not left.pressed


def test_one_that_fails_once_is_waited_for_no_more_and_tried_again(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    open_all(stage, left, right)
    left.script = ["error", "slow"]
    found = outcomes(stage, left, right)
    assert kinds(found) == [CaptureResult, CaptureResult]
    assert left.pressed[0] - right.pressed[0] > SLOW_S - 2 * COMMAND_S


def test_one_whose_worker_dies_while_it_waits_for_the_others_is_tried_again(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    open_all(stage, left, right)
    right.script = ["slow"]
    call = begin(stage, left, right)
    stage.wait(1)
    assert left.worker is not None
    left.worker.die()
    found = stage.run(wait_for(call))
    assert kinds(found) == [CaptureResult, CaptureResult]
    assert (left.shots, right.shots) == (1, 1)


def test_one_that_is_refused_at_once_does_not_keep_the_others(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    open_all(stage, left, right)
    stage.begin(left.camera.capture(ORDER), 1)
    stage.wait(COMMAND_S / 2)
    begun = stage.loop.time()
    found = outcomes(stage, left, right)
    assert kinds(found) == [CameraBusy, CaptureResult]
    assert right.pressed == [pytest.approx(begun + COMMAND_S, abs=TICK_S)]


def test_two_groups_in_opposite_order_both_end(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    open_all(stage, left, right)
    calls = [
        begin(stage, left, right, order=WAITING),
        begin(stage, right, left, order=WAITING),
        begin(stage, left, right, order=WAITING),
    ]
    for call in calls:
        assert kinds(stage.run(wait_for(call))) == [CaptureResult, CaptureResult]
    assert left.pressed == right.pressed
    assert len(left.pressed) == 3


def test_a_group_waits_for_a_camera_in_use_with_the_others_ready(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    open_all(stage, left, right)
    left.script = ["slow"]
    single = stage.begin(left.camera.capture(ORDER), 100)
    stage.wait(COMMAND_S)
    found = outcomes(stage, right, left, order=WAITING)
    assert single.task.done()
    assert kinds(found) == [CaptureResult, CaptureResult]
    assert left.pressed[1:] == right.pressed


@pytest.mark.parametrize("request_id", ["", "a"])
@pytest.mark.parametrize("after_s", [COMMAND_S / 2, 3 * COMMAND_S])
def test_a_group_whose_client_leaves_before_the_trigger_presses_no_shutter(
    stage: Stage, left: FakeCamera, right: FakeCamera, after_s: float, request_id: str
) -> None:
    """It leaves while both are made ready, or while one is and the other waits for it."""
    open_all(stage, left, right)
    right.script = ["slow"]
    call = begin(stage, left, right, order=Order(Shot(), request_id))
    stage.wait(after_s)
    call.leave()
    stage.wait(60)
    assert not left.pressed + right.pressed
    assert left.unprepared == 1, "what was made ready is told that nothing will come"
    assert len(left.workers) == 1
    states = [record.state for record in stage.archive.records.values()]
    assert states.count(CaptureState.CANCELLED) + states.count(CaptureState.FAILED) == 2
    assert kinds(outcomes(stage, left, right)) == [CaptureResult, CaptureResult]


def test_the_last_to_be_ready_presses_no_shutter_when_the_client_has_left(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    open_all(stage, left, right)
    call = begin(stage, left, right)
    stage.wait(COMMAND_S / 2)
    call.leave()
    stage.wait(60)
    assert not left.pressed + right.pressed
    assert (left.unprepared, right.unprepared) == (1, 1)
    assert (len(left.workers), len(right.workers)) == (1, 1), "no worker was killed for it"


def test_one_that_fails_when_the_client_has_left_is_not_tried_again(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    """Whoever leaves before the trigger gets no picture, though with an id he may come back."""
    open_all(stage, left, right)
    left.script = ["die"]
    call = begin(stage, left, right, order=Order(Shot(), "a"))
    stage.wait(COMMAND_S / 4)
    call.leave()
    stage.wait(60)
    assert not left.pressed + right.pressed


def test_without_a_deadline_one_waits_for_the_others_longer_than_its_own_worst_case(
    stage: Stage, right: FakeCamera
) -> None:
    options = camera_options("quick", attempts=1, attempt_timeout_s=2.0, open_timeout_s=2.0)
    quick = FakeCamera(stage, options)
    assert worst_case_s(options) < SLOW_S
    open_all(stage, quick, right)
    right.script = ["slow"]
    stage.begin(right.camera.capture(WAITING), 1000)
    assert kinds(outcomes(stage, quick, right, order=WAITING)) == [CaptureResult, CaptureResult]


def test_the_same_ids_again_are_replayed_and_measure_no_skew(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    order = Order(Shot(), "a")
    first = outcomes(stage, left, right, order=order)
    again = outcomes(stage, left, right, order=order)
    assert [o.replayed for o in first + again if isinstance(o, CaptureResult)] == [False] * 2 + [
        True
    ] * 2
    assert (left.shots, right.shots) == (1, 1)
    assert skew_s(first) is not None
    assert skew_s(again) is None


def test_only_what_is_missing_of_a_group_is_taken_again(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    order = Order(Shot(), "a")
    open_all(stage, left, right)
    left.script = ["error"] * 200
    assert kinds(outcomes(stage, left, right, order=order)) == [CameraUnavailable, CaptureResult]
    stage.wait(60)
    left.script.clear()
    stage.wait(60)
    assert kinds(outcomes(stage, left, right, order=order)) == [CaptureResult, CaptureResult]
    assert (left.shots, right.shots) == (1, 1)


def test_a_group_joins_the_capture_under_way_of_one_of_its_ids(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    open_all(stage, left, right)
    order = Order(Shot(), "a")
    left.script = ["slow"]
    stage.begin(left.camera.capture(order), 100)
    stage.wait(1)
    begun = stage.loop.time()
    found = outcomes(stage, left, right, order=order)
    assert kinds(found) == [CaptureResult, CaptureResult]
    assert left.shots == 1
    assert right.pressed == [pytest.approx(begun + COMMAND_S, abs=TICK_S)], "it waits for nobody"


def test_what_was_kept_while_it_was_looked_for_is_not_taken_again(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    open_all(stage, left, right)
    order = Order(Shot(), "a")
    stage.archive.lookup_s = 1.0
    call = begin(stage, left, right, order=order)
    stage.wait(0.1)
    stage.archive.lookup_s = 0.0
    stage.run(left.camera.capture(order))
    found = stage.run(wait_for(call))
    assert [outcome.replayed for outcome in found if isinstance(outcome, CaptureResult)] == [
        True,
        False,
    ]
    assert (left.shots, right.shots) == (1, 1)


@pytest.mark.parametrize("steps", range(8))
def test_a_group_that_joins_while_the_capture_loses_its_client_is_answered(
    stage: Stage, left: FakeCamera, right: FakeCamera, steps: int
) -> None:
    """The steps of the event loop in which it may happen are tried one by one."""
    open_all(stage, left, right)
    order = Order(Shot(), "a", wait=True)
    stage.begin(left.camera.capture(ORDER), 10)
    first = stage.begin(left.camera.capture(order), 10)
    stage.wait(COMMAND_S / 2)
    call = begin(stage, left, right, order=order)

    async def leave() -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        first.leave()

    stage.run(leave())
    stage.wait(10)
    stage.check_calls()
    assert kinds(call.task.result())[1] is CaptureResult


def test_another_request_under_an_id_is_refused_and_the_others_are_taken(
    stage: Stage, left: FakeCamera, right: FakeCamera
) -> None:
    stage.run(left.camera.capture(Order(Shot(), "a")))
    order = Order(Shot(format="PNG"), "a")
    assert kinds(outcomes(stage, left, right, order=order)) == [RequestIdReused, CaptureResult]


def test_a_deadline_ends_the_whole_group(stage: Stage, left: FakeCamera, right: FakeCamera) -> None:
    open_all(stage, left, right)
    left.script = ["hang"]
    call = begin(stage, left, right, timeout_s=2)
    stage.wait(2 + TICK_S)
    stage.check_calls()
    assert call.task.done()
    assert not left.pressed + right.pressed


def test_one_picture_has_no_skew(stage: Stage, left: FakeCamera) -> None:
    assert skew_s(outcomes(stage, left)) is None
