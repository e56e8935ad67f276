"""A capture from its order to its picture: request ids, the disk, the end. In virtual time."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from camsvc.camera.capture import CaptureResult, Order
from camsvc.camera.deadline import worst_case_s
from camsvc.model.errors import (
    CameraServiceError,
    CameraUnavailable,
    CaptureTimeout,
    RequestIdReused,
    StorageFull,
    Unsupported,
    WorkerLost,
)
from camsvc.model.lifecycle import State
from camsvc.model.records import CaptureRecord, CaptureState, EventType
from camsvc.model.values import Shot
from tests.support.fakeworkers import (
    COMMAND_S,
    OPTIONS,
    SLOW_S,
    TICK_S,
    WELL,
    Call,
    Rig,
)

PLAIN = Order(Shot())
NAMED = Order(Shot(), "a", {"point": "1"})
OTHERS = [
    replace(NAMED, shot=Shot(format="PNG")),
    replace(NAMED, shot=Shot(quality_percent=80)),
    replace(NAMED, shot=Shot(controls={"gain": 2.0})),
    replace(NAMED, labels={"point": "2"}),
]
ALIKE = [
    replace(NAMED, wait=True),
    replace(NAMED, inline_bytes=1000),
]


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


@pytest.fixture
def opened(rig: Rig) -> Rig:
    """A camera that is open and has taken one still."""
    rig.run(rig.camera.capture(PLAIN))
    rig.shots = 0
    rig.pressed.clear()
    return rig


def take(rig: Rig, order: Order, timeout_s: float | None = None) -> CaptureResult:
    taken: CaptureResult = rig.run(rig.camera.capture(order, timeout_s))
    return taken


def begin(rig: Rig, order: Order = NAMED, timeout_s: float | None = None) -> Call:
    return rig.begin(rig.camera.capture(order, timeout_s), timeout_s or 1000)


def result(rig: Rig, call: Call) -> CaptureResult:
    async def wait() -> CaptureResult:
        taken: CaptureResult = await call.task
        return taken

    taken: CaptureResult = rig.run(wait())
    return taken


def last_state(rig: Rig) -> CaptureState:
    return list(rig.archive.records.values())[-1].state


# The same request id again.


def test_the_same_id_joins_the_capture_under_way(opened: Rig) -> None:
    calls = [begin(opened), begin(opened)]
    opened.wait(COMMAND_S / 2)
    calls.append(begin(opened))
    taken = [result(opened, call) for call in calls]
    assert opened.shots == 1
    assert [one.replayed for one in taken] == [False, True, True]
    assert len({one.record.capture_id for one in taken}) == 1
    assert opened.view.captures.captures_succeeded == 2, "each capture counts once"


@pytest.mark.parametrize("again", [NAMED, *ALIKE])
def test_the_same_id_again_is_replayed_though_it_wants_it_otherwise_handed_over(
    opened: Rig, again: Order
) -> None:
    first = take(opened, NAMED)
    taken = take(opened, again)
    assert (first.replayed, taken.replayed) == (False, True)
    assert taken.record == first.record
    assert opened.shots == 1


@pytest.mark.parametrize("other", OTHERS)
def test_another_request_under_the_id_of_one_under_way_is_refused(
    opened: Rig, other: Order
) -> None:
    call = begin(opened)
    with pytest.raises(RequestIdReused) as refusal:
        take(opened, other)
    taken = result(opened, call)
    assert refusal.value.metadata["capture_id"] == taken.record.capture_id
    types = [event.type for event in opened.archive.events]
    assert types.count(EventType.REJECTED) == 1
    assert opened.shots == 1


@pytest.mark.parametrize("other", OTHERS)
def test_another_request_under_the_id_of_one_kept_is_refused(opened: Rig, other: Order) -> None:
    kept = take(opened, NAMED).record
    with pytest.raises(RequestIdReused) as refusal:
        take(opened, other)
    assert refusal.value.metadata == {
        "camera": "cam",
        "request_id": "a",
        "capture_id": kept.capture_id,
    }
    assert opened.shots == 1


def test_without_an_id_every_call_is_a_new_capture(opened: Rig) -> None:
    ids = {take(opened, PLAIN).record.capture_id for _ in range(3)}
    assert len(ids) == opened.shots == 3


@pytest.mark.parametrize("deed", ["refuse", "die"])
def test_an_id_whose_capture_failed_takes_a_new_one(opened: Rig, deed: str) -> None:
    opened.script = [deed, WELL] * OPTIONS.attempts
    with pytest.raises((Unsupported, CameraUnavailable)):
        take(opened, NAMED)
    opened.script.clear()
    opened.wait(60)
    taken = take(opened, NAMED)
    assert not taken.replayed
    states = [r.state for r in opened.archive.records.values() if r.request_id]
    failed = [CaptureState.FAILED] if deed == "die" else []  # what was refused was no capture
    assert states == [*failed, CaptureState.SUCCEEDED]


def test_an_id_that_was_refused_as_busy_takes_a_new_one(opened: Rig) -> None:
    begin(opened, PLAIN)
    opened.wait(COMMAND_S / 2)
    with pytest.raises(CameraServiceError):
        take(opened, NAMED)
    opened.wait(COMMAND_S)
    assert not take(opened, NAMED).replayed


# A client that leaves, and comes back.


def test_a_deadline_ends_the_call_but_not_the_shot_and_the_same_id_gets_it(opened: Rig) -> None:
    opened.script = ["slow"]
    with pytest.raises(CaptureTimeout) as late:
        take(opened, NAMED, timeout_s=1)
    assert opened.loop.time() - opened.pressed[0] == pytest.approx(1, abs=TICK_S)
    taken = take(opened, NAMED)
    assert taken.record.capture_id == late.value.metadata["capture_id"]
    assert taken.replayed
    assert (opened.shots, len(opened.workers)) == (1, 1), "no second shot, no worker killed"


def test_a_shot_whose_client_stays_away_is_kept_for_it(opened: Rig) -> None:
    opened.script = ["slow"]
    begin(opened, timeout_s=1)
    opened.wait(60)
    assert last_state(opened) is CaptureState.SUCCEEDED
    opened.pressed.clear()
    assert take(opened, NAMED).replayed
    assert not opened.pressed


def test_one_whose_client_left_before_its_shot_is_cancelled(opened: Rig) -> None:
    begin(opened, PLAIN)
    waiting = begin(opened, replace(NAMED, wait=True))
    opened.wait(COMMAND_S / 2)
    waiting.leave()
    opened.wait(60)
    assert last_state(opened) is CaptureState.CANCELLED
    assert opened.shots == 1


@pytest.mark.parametrize(
    ("order", "state"), [(NAMED, CaptureState.SUCCEEDED), (PLAIN, CaptureState.CANCELLED)]
)
def test_a_shot_that_failed_is_tried_again_with_nobody_there_only_where_they_may_come_back(
    opened: Rig, order: Order, state: CaptureState
) -> None:
    opened.script = ["error", "slow"]
    call = begin(opened, order)
    opened.wait(1)
    call.leave()  # while the camera is brought back
    opened.wait(60)
    assert last_state(opened) is state
    assert opened.shots == (1 if order is NAMED else 0)


def test_coming_back_ends_the_patience_with_a_shot_that_others_wait_for(opened: Rig) -> None:
    """Else the others' wish would have it counted as hung after 0.7 s."""
    opened.script = ["slow"]
    begin(opened, timeout_s=0.2)
    opened.wait(0.3)
    other = begin(opened, replace(PLAIN, wait=True))
    opened.wait(0.1)
    again = begin(opened)
    assert result(opened, again).replayed
    assert opened.loop.time() - opened.pressed[0] > SLOW_S
    result(opened, other)
    assert (opened.shots, len(opened.workers)) == (2, 1)


@pytest.mark.parametrize("steps", range(6))
def test_who_asks_again_while_the_capture_is_being_cancelled_gets_a_picture(
    opened: Rig, steps: int
) -> None:
    """A few steps of the event loop lie between the one client's leaving and the capture's end."""
    begin(opened, PLAIN)
    order = replace(NAMED, wait=True)
    first = begin(opened, order)
    opened.wait(COMMAND_S / 2)

    async def leave_and_ask() -> CaptureResult:
        first.leave()
        for _ in range(steps):
            await asyncio.sleep(0)
        return await opened.camera.capture(order)

    assert opened.run(leave_and_ask()).record.state is CaptureState.SUCCEEDED
    assert opened.shots == 2


def test_what_was_kept_while_it_was_looked_for_is_not_taken_again(opened: Rig) -> None:
    """The archive's answer was right when it was asked."""
    opened.archive.lookup_s = 1.0
    slow = begin(opened)
    opened.wait(0.1)
    opened.archive.lookup_s = 0.0
    first = take(opened, NAMED)
    again = result(opened, slow)
    assert again.replayed
    assert again.record == first.record
    assert opened.shots == 1


# Progress.


def test_a_driver_that_comes_further_has_its_time_anew(opened: Rig) -> None:
    opened.reports = [(8, 20), (8, 40), (6, 90)]
    record = take(opened, PLAIN).record
    assert (record.attempts, record.recoveries) == (1, 0)
    assert record.driver_s == COMMAND_S
    assert opened.loop.time() - opened.pressed[0] > 2.2 * OPTIONS.attempt_timeout_s
    assert len(opened.workers) == 1


@pytest.mark.parametrize("percents", [(0, 0), (20, 20), (20, 5), (0,)])
def test_only_further_is_progress(opened: Rig, percents: tuple[int, ...]) -> None:
    opened.reports = [*((8.0, percent) for percent in percents), (12.0, 50)]
    with pytest.raises(CameraUnavailable, match="camera's attempt_timeout_s") as failure:
        take(opened, PLAIN)
    first = max(percents)
    known = f"did not get beyond {first} %" if first else "was not answered"
    assert f"Capture {known} within 10 s" in failure.value.message
    took_s = opened.pressed[1] - opened.pressed[0]
    assert took_s == pytest.approx((8 if first else 0) + OPTIONS.attempt_timeout_s, abs=1)


def test_progress_without_end_is_bounded_by_the_worst_case(opened: Rig) -> None:
    opened.reports = [(9, percent) for percent in range(1, 101)]
    before = opened.loop.time()
    call = begin(opened)  # its client may come back: nobody's patience ends it
    with pytest.raises(CaptureTimeout, match="after 75 s, which is its worst case"):
        result(opened, call)
    assert opened.loop.time() - before == pytest.approx(worst_case_s(OPTIONS), abs=TICK_S)
    opened.wait(TICK_S)
    assert opened.workers[0].killed


def test_an_abandoned_shot_that_comes_further_may_end(opened: Rig) -> None:
    """To kill it in the middle of its transfer would do so each time, for ever."""
    opened.reports = [(0.6, 10 * n) for n in range(1, 10)]
    with pytest.raises(CaptureTimeout):
        take(opened, PLAIN, 1)
    opened.reports = []
    take(opened, replace(PLAIN, wait=True))
    assert (opened.shots, len(opened.workers)) == (2, 1)


# The disk, and the end of the service.


def test_a_full_disk_refuses_before_the_shutter(opened: Rig) -> None:
    opened.archive.full = True
    with pytest.raises(StorageFull):
        take(opened, NAMED)
    assert not opened.pressed
    assert opened.archive.events[-1].type is EventType.REJECTED
    assert opened.view.captures.captures_rejected == 1
    opened.archive.full = False
    take(opened, NAMED)


def test_what_is_kept_and_what_is_under_way_needs_no_room(opened: Rig) -> None:
    kept = Order(Shot(), "kept")
    take(opened, kept)
    opened.script = ["slow"]
    call = begin(opened)
    opened.wait(1)
    opened.archive.full = True
    assert take(opened, kept).replayed
    assert take(opened, NAMED).replayed
    assert not result(opened, call).replayed


def test_a_disk_that_is_full_after_the_shot_fails_the_capture_and_not_the_camera(
    opened: Rig,
) -> None:
    opened.archive.fails = True
    with pytest.raises(StorageFull) as full:
        take(opened, NAMED)
    record = opened.archive.records[full.value.metadata["capture_id"]]
    assert record.state is CaptureState.FAILED
    assert record.failure is not None
    assert record.failure.reason == "STORAGE_FULL"
    assert opened.shots == 1, "another shot would find no more room"
    opened.archive.fails = False
    assert not take(opened, NAMED).replayed
    assert len(opened.workers) == 1


def test_a_picture_that_is_being_kept_when_the_service_closes_is_kept() -> None:
    rig = Rig()
    rig.archive.keep_s = 2.0
    call = begin(rig)
    rig.wait(2 * COMMAND_S + 1)
    assert rig.shots == 1
    rig.close()
    assert last_state(rig) is CaptureState.SUCCEEDED
    assert call.task.result().record.state is CaptureState.SUCCEEDED


def test_a_capture_that_the_close_ends_is_kept_as_cancelled() -> None:
    rig = Rig()
    calls = [begin(rig, replace(NAMED, request_id=name, wait=True)) for name in "abc"]
    rig.wait(1.5 * COMMAND_S)
    rig.close()
    states = [record.state for record in rig.archive.records.values()]
    assert states == [CaptureState.CANCELLED] * 3
    assert all(call.task.done() for call in calls)


def test_what_a_failed_attempt_may_have_written_is_discarded(opened: Rig) -> None:
    opened.script = ["error", WELL, "die"]
    taken = take(opened, PLAIN)
    capture_id = taken.record.capture_id
    assert opened.archive.discarded == [f"{capture_id}.1", f"{capture_id}.2"]
    assert taken.record.attempts == 3


def test_after_an_internal_error_in_a_still_the_camera_takes_the_next(
    opened: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[CaptureRecord] = []

    def end(record: CaptureRecord) -> "asyncio.Future[None]":
        ended.append(record)
        return asyncio.get_running_loop().create_future()

    with monkeypatch.context() as broken:
        opened.archive.lies = [OSError("no such memory")]
        broken.setattr(opened.archive, "end", end)
        with pytest.raises(OSError, match="no such memory"):
            take(opened, PLAIN)
        opened.wait(0)
    assert [record.state for record in ended] == [CaptureState.FAILED]
    assert opened.view.state is State.READY
    assert take(opened, PLAIN).record.attempts == 1


def test_a_picture_that_is_not_what_its_worker_says_costs_that_worker(opened: Rig) -> None:
    opened.archive.lies = [WorkerLost("the worker announced 9 bytes and wrote 7")]
    liar, workers = opened.worker, len(opened.workers)
    record = take(opened, PLAIN).record
    assert record.attempts == 2
    assert liar is not None
    assert liar.killed
    assert len(opened.workers) == workers + 1
    assert opened.archive.discarded == [f"{record.capture_id}.1"]


def test_a_client_that_leaves_while_its_picture_is_written_does_not_lose_it(opened: Rig) -> None:
    opened.archive.store_s = 5.0
    call = begin(opened, PLAIN)
    opened.wait(2 * COMMAND_S)
    call.leave()
    opened.wait(6.0)
    states = [record.state for record in opened.archive.records.values()]
    assert states == [CaptureState.SUCCEEDED] * 2


def test_a_worker_that_ends_while_its_picture_is_written_is_replaced(opened: Rig) -> None:
    opened.archive.store_s = 5.0
    call = begin(opened, PLAIN)
    opened.wait(2 * COMMAND_S)
    assert opened.worker is not None
    opened.worker.die()
    opened.wait(6.0)
    assert call.task.result().record.attempts == 1, "the picture was there"
    assert opened.view.state is State.READY
    assert not opened.worker.gone
