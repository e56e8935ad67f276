"""The line of one camera, as those who wait in it see it. In virtual time."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from camsvc.camera.capture import CaptureResult, Order
from camsvc.model.errors import CameraBusy, CaptureTimeout, QueueFull
from camsvc.model.records import CaptureState, EventType
from camsvc.model.values import Shot
from tests.support.fakeworkers import COMMAND_S, OPTIONS, SLOW_S, TICK_S, Call, Rig

FIRST = Order(Shot())
WAITING = Order(Shot(), wait=True)


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A camera that is open and has taken one still."""
    rig = Rig()
    rig.run(rig.camera.capture(FIRST))
    rig.shots = 0
    yield rig
    rig.close()


def begin(rig: Rig, order: Order = WAITING, timeout_s: float | None = None) -> Call:
    call = rig.begin(rig.camera.capture(order, timeout_s), timeout_s or 1000)
    rig.wait(0)
    return call


def hold(rig: Rig) -> Call:
    """Begin a capture that takes much longer than thought."""
    rig.script.append("slow")
    return begin(rig, FIRST)


def positions(rig: Rig) -> list[list[int]]:
    """Return what each waiting capture was told of its place, in the order they came."""
    ids = list(rig.archive.records)[1:]
    told = [[event.queue_position for event in rig.archive.of(each)] for each in ids]
    return [[place for place in places if place is not None] for places in told]


def test_captures_that_wait_are_taken_in_the_order_they_came(rig: Rig) -> None:
    calls = [begin(rig) for _ in range(OPTIONS.queue_limit + 1)]
    rig.wait(10)
    started = [call.task.result().record for call in calls]
    assert [record.capture_id for record in started] == list(rig.archive.records)[1:]
    waits = [record.queue_s for record in started]
    assert waits == sorted(waits)
    assert rig.shots == len(calls)


def test_who_waits_is_told_each_time_it_moves_up(rig: Rig) -> None:
    for _ in range(4):
        begin(rig)
    assert positions(rig) == [[], [1], [2], [3]]
    rig.wait(10)
    assert positions(rig) == [[], [1], [2, 1], [3, 2, 1]]
    first, *waited = list(rig.archive.records)[1:]
    assert rig.archive.types_of(first)[0] is EventType.STARTED
    for capture_id in waited:
        told = rig.archive.types_of(capture_id)
        assert told[-2:] == [EventType.STARTED, EventType.SUCCEEDED]


def test_one_that_leaves_lets_those_behind_it_move_up(rig: Rig) -> None:
    hold(rig)
    leaving, *_ = [begin(rig) for _ in range(3)]
    leaving.leave()
    rig.wait(0.1)
    assert positions(rig) == [[], [1], [2, 1], [3, 2]]
    gone = list(rig.archive.records.values())[2]
    assert gone.state is CaptureState.CANCELLED
    assert rig.view.queued == 2


def test_a_full_line_refuses_and_says_its_limit(rig: Rig) -> None:
    for _ in range(OPTIONS.queue_limit + 1):
        begin(rig)
    with pytest.raises(QueueFull) as refusal:
        rig.run(rig.camera.capture(WAITING))
    assert refusal.value.metadata["limit"] == str(OPTIONS.queue_limit)
    assert refusal.value.retry_after_s
    assert rig.archive.events[-1].type is EventType.REJECTED
    rig.wait(10)
    assert rig.shots == OPTIONS.queue_limit + 1, "those in the line are not disturbed"


def test_who_cannot_be_served_in_time_is_refused_at_once(rig: Rig) -> None:
    begin(rig)
    begin(rig)
    before = rig.loop.time(), len(rig.archive.records)
    with pytest.raises(CameraBusy, match="deadline can no longer be met"):
        rig.run(rig.camera.capture(WAITING, 2.5 * COMMAND_S))
    assert (rig.loop.time(), len(rig.archive.records)) == before
    assert rig.archive.events[-1].type is EventType.REJECTED
    begin(rig, WAITING, 4 * COMMAND_S)
    rig.wait(10)
    assert rig.shots == 3


def test_a_waiter_is_told_as_soon_as_its_deadline_cannot_be_met_any_more(rig: Rig) -> None:
    holder = hold(rig)
    begun = rig.loop.time()
    ahead = begin(rig)
    late = begin(rig, WAITING, 3)
    rig.wait(3 - 2 * COMMAND_S - TICK_S)
    assert not late.task.done()
    rig.wait(2 * TICK_S)
    error = late.task.exception()
    assert isinstance(error, CameraBusy), "not at its deadline, but when two stills' time is left"
    assert rig.loop.time() - begun < 3 - COMMAND_S
    record = list(rig.archive.records.values())[3]
    assert record.state is CaptureState.CANCELLED
    assert record.failure is not None
    assert record.failure.reason == "CAMERA_BUSY"
    rig.wait(20)
    assert isinstance(holder.task.result(), CaptureResult)
    assert isinstance(ahead.task.result(), CaptureResult)
    assert rig.shots == 2


def test_one_that_is_joined_by_a_client_with_more_time_waits_on(rig: Rig) -> None:
    hold(rig)
    order = replace(WAITING, request_id="a")
    short = begin(rig, order, 3)
    rig.wait(1)
    patient = begin(rig, order, 30)
    rig.wait(20)
    assert isinstance(short.task.exception(), CaptureTimeout | CameraBusy)
    assert isinstance(patient.task.result(), CaptureResult)
    assert rig.shots == 2


def test_control_calls_wait_in_the_line_and_keep_nobody_out(rig: Rig) -> None:
    rig.script.append("slow")
    setting = rig.begin(rig.camera.set_controls({}), 100)
    rig.wait(0)
    begun = rig.loop.time()
    taken = rig.run(rig.camera.capture(FIRST))
    assert setting.task.done()
    assert taken.record.queue_s == pytest.approx(rig.loop.time() - begun - COMMAND_S, abs=TICK_S)
    assert taken.record.queue_s > SLOW_S


def test_of_captures_refused_together_each_is_promised_a_turn_of_its_own(rig: Rig) -> None:
    hold(rig)
    promised = []
    for _ in range(5):
        with pytest.raises(CameraBusy) as refusal:
            rig.run(rig.camera.capture(FIRST))
        promised.append(refusal.value.retry_after_s or 0)
    assert all(b - a > COMMAND_S for a, b in itertools.pairwise(promised))
