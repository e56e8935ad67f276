"""Callers take turns in a camera's queue, and none has all of it. In virtual time."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camsvc.camera.capture import Order
from camsvc.camera.deadline import worst_case_s
from camsvc.camera.group import capture_group
from camsvc.camera.queue import CaptureQueue, Ticket
from camsvc.model.caller import Caller
from camsvc.model.errors import CameraBusy, CaptureTimeout, QueueFull
from camsvc.model.options import CameraOptions
from camsvc.model.records import CaptureState
from camsvc.model.retry_hint import CaptureTimes
from camsvc.model.values import Shot
from tests.support.fakeworkers import COMMAND_S, OPTIONS, TICK_S, Call, FakeCamera, Rig, Stage
from tests.support.loops import new_virtual_loop

GREEDY, HONEST, THIRD = (Caller("ipv4:10.0.0.1", f"ipv4:10.0.0.1:{port}") for port in (1, 2, 3))
DEEP = replace(OPTIONS, queue_limit=16)


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A camera that is open and has taken one still."""
    rig = Rig(DEEP)
    rig.run(rig.camera.capture(Order(Shot())))
    rig.shots = 0
    yield rig
    rig.close()


def begin(rig: Rig, caller: Caller, *, bound_s: float = 1000, **order: object) -> Call:
    waiting = Order(Shot(), wait=True, caller=caller, **order)  # type: ignore[arg-type]
    call = rig.begin(rig.camera.capture(waiting), bound_s)
    rig.wait(0)
    return call


def taken(rig: Rig, calls: dict[Call, str]) -> list[str]:
    """Return whose captures were taken, in the order in which they were."""
    results = [(call.task.result().record, name) for call, name in calls.items()]
    return [
        name
        for _, name in sorted(
            results, key=lambda each: each[0].create_time_ns + each[0].queue_s * 1e9
        )
    ]


def test_two_callers_take_turns_whoever_came_first(rig: Rig) -> None:
    calls = {begin(rig, GREEDY): "g" for _ in range(5)} | {
        begin(rig, HONEST): "h" for _ in range(3)
    }
    rig.wait(10)
    assert "".join(taken(rig, calls)) == "ghghghgg"


def test_a_caller_that_always_has_more_leaves_half_to_one_that_has_one_at_a_time(rig: Rig) -> None:
    shares = Counter[str]()
    pending = {begin(rig, GREEDY): "g" for _ in range(DEEP.queue_limit)}
    pending[begin(rig, HONEST)] = "h"
    while shares.total() < 60:
        rig.wait(COMMAND_S / 4)
        for call in [call for call in pending if call.task.done()]:
            name = pending.pop(call)
            shares[name] += call.task.exception() is None
            pending[begin(rig, {"g": GREEDY, "h": HONEST}[name])] = name
    assert shares["h"] >= 0.45 * shares.total(), shares


def test_a_full_queue_makes_room_for_who_has_less_of_it(rig: Rig) -> None:
    greedy = [begin(rig, GREEDY) for _ in range(DEEP.queue_limit + 1)]
    honest = begin(rig, HONEST)
    rig.wait(0)
    error = greedy[-1].task.exception()
    assert isinstance(error, QueueFull)
    assert "given to another" in error.message
    assert error.retry_after_s
    assert (error.metadata["limit"], error.metadata["camera"]) == (str(DEEP.queue_limit), "cam")
    states = [record.state for record in rig.archive.records.values()]
    assert states.count(CaptureState.CANCELLED) == 1
    assert rig.view.queued == DEEP.queue_limit
    with pytest.raises(QueueFull):
        rig.run(rig.camera.capture(Order(Shot(), wait=True, caller=GREEDY)))
    rig.wait(10)
    assert isinstance(honest.task.result().record.queue_s, float)
    assert rig.shots == DEEP.queue_limit + 1


def test_positions_are_true_when_others_are_taken_before(rig: Rig) -> None:
    for _ in range(3):
        begin(rig, GREEDY)
    begin(rig, HONEST)
    ids = list(rig.archive.records)[1:]
    told = [[e.queue_position for e in rig.archive.of(each) if e.queue_position] for each in ids]
    assert told == [[], [1, 2], [2, 3], [1]]


def test_who_is_taken_later_has_the_time_of_those_before_on_top() -> None:
    """Each takes nearly all that a capture may; nobody's call is ended for another's turn."""
    options = replace(DEEP, attempts=1, attempt_timeout_s=8.0, open_timeout_s=0.5)
    rig = Rig(options)
    rig.run(rig.camera.capture(Order(Shot())))
    rig.script = ["slow"] * 8
    calls = [begin(rig, GREEDY) for _ in range(2)]
    calls += [begin(rig, caller) for caller in (HONEST, THIRD)]
    assert 2 * worst_case_s(options) < 4 * 7.0
    rig.wait(60)
    assert [call.task.exception() for call in calls] == [None] * 4
    rig.close()


def test_a_call_still_ends_by_its_worst_case_and_those_before() -> None:
    options = replace(DEEP, attempts=1, open_timeout_s=0.5)
    rig = Rig(options)
    rig.run(rig.camera.capture(Order(Shot())))
    begin(rig, GREEDY)
    rig.archive.lookup_s = 0.0
    rig.script = ["hang"] * 10
    late = begin(rig, GREEDY)
    begin(rig, HONEST)
    rig.wait(3 * worst_case_s(options) + TICK_S)
    assert late.task.done()
    rig.wait(60)
    rig.close()


def test_a_control_call_waits_for_its_turn_only(rig: Rig) -> None:
    for _ in range(10):
        begin(rig, GREEDY)
    begun = rig.loop.time()
    rig.run(rig.camera.list_controls(None, HONEST))
    assert rig.loop.time() - begun < 3 * COMMAND_S


def test_who_comes_back_as_told_gets_a_picture_though_others_always_wait(rig: Rig) -> None:
    for _ in range(DEEP.queue_limit + 1):
        begin(rig, GREEDY)
    order = Order(Shot(), caller=HONEST)
    for _ in range(3):
        with pytest.raises(CameraBusy) as refusal:
            rig.run(rig.camera.capture(order))
    rig.wait((refusal.value.retry_after_s or 0) + TICK_S)
    assert rig.view.queued
    result = rig.run(rig.camera.capture(order))
    assert result.record.queue_s <= 2 * COMMAND_S + TICK_S
    with pytest.raises(CameraBusy):
        rig.run(rig.camera.capture(order))


@pytest.mark.parametrize("first", [GREEDY, HONEST])
def test_groups_that_share_cameras_never_wait_for_each_other(first: Caller) -> None:
    """In one camera's queue the one would be first by turns, in the other's the other one."""
    stage = Stage()
    left, right = (FakeCamera(stage, _named(name)) for name in ("left", "right"))
    for camera in (left, right):
        stage.run(camera.camera.capture(Order(Shot())))
    single = Order(Shot(), wait=True, caller=first)
    calls = [stage.begin(left.camera.capture(single), 100) for _ in range(3)]
    for caller in (first, HONEST if first is GREEDY else GREEDY):
        items = [(c.camera, Order(Shot(), wait=True, caller=caller)) for c in (left, right)]
        calls.append(stage.begin(capture_group(items, None), 100))
    stage.wait(20 * COMMAND_S)
    assert all(call.task.done() for call in calls)
    groups = [result for call in calls[3:] for result in call.task.result()]
    assert not [result for result in groups if isinstance(result, CaptureTimeout)]
    stage.close()


def _named(name: str) -> CameraOptions:
    return replace(DEEP, id=name)


@settings(deadline=None)
@given(
    callers=st.lists(st.sampled_from([GREEDY, HONEST, THIRD]), min_size=1, max_size=16),
    leaving=st.lists(st.integers(0, 15), max_size=8),
)
def test_of_one_caller_who_came_first_is_first_and_nobody_is_passed_for_ever(
    callers: list[Caller], leaving: list[int]
) -> None:
    loop = new_virtual_loop()

    async def take_all() -> None:
        await asyncio.sleep(1)
        queue = CaptureQueue("cam", 16, CaptureTimes())
        tickets = [Ticket(caller=caller) for caller in callers]
        for ticket in tickets:
            queue.enter(ticket, wait=True)
        for index in leaving:
            if 0 < index < len(tickets):
                queue.leave(tickets[index])
        left = {tickets[index].id for index in leaving if 0 < index < len(tickets)}
        taken, newcomers = list[Ticket](), itertools.count()
        while queue.captures and len(taken) < 400:
            first = queue.holder
            assert first is not None
            await queue.wait_for_turn(first)
            taken.append(first)
            queue.leave(first)
            if len(taken) < 320:  # ever new callers, each with one
                number = next(newcomers)
                queue.enter(Ticket(caller=Caller("new", str(number))), wait=True)
        own = [ticket for ticket in taken if ticket.caller in callers]
        assert {ticket.id for ticket in own} == {t.id for t in tickets} - left
        for caller in callers:
            mine = [ticket for ticket in own if ticket.caller == caller]
            assert [t.id for t in mine] == [t.id for t in tickets if t in mine]
        assert taken.index(own[-1]) <= (len(callers) + 1) ** 2, "rounds end"

    try:
        loop.run_until_complete(take_all())
    finally:
        loop.close()
