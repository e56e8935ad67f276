"""The camera against a worker that may do anything, in virtual time.

Hypothesis chooses what clients ask, when they leave, and what the worker does to each command.
Whatever it chooses: every call is answered within its bound, at most one command is under way in a
worker, every worker that was given up is killed, and once the worker behaves again, the next
capture succeeds.
"""

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from camsvc.camera.capture import Order
from camsvc.camera.deadline import worst_case_s
from camsvc.ipc import messages as m
from camsvc.model.errors import (
    CameraBusy,
    CameraFaulted,
    CameraServiceError,
    CameraUnavailable,
    CaptureTimeout,
    InvalidRequest,
    Unsupported,
)
from camsvc.model.lifecycle import State
from camsvc.model.records import EventType
from camsvc.model.values import Shot
from tests.support.fakeworkers import (
    MISDEEDS,
    OPTIONS,
    SLOW_S,
    TICK_S,
    WELL,
    FakeCamera,
    FakeWorker,
    Rig,
)
from tests.support.options import camera_options

LOOKUP_S = 0.001  # as long as the archive takes to answer


class Clients(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.rig.archive.lookup_s = LOOKUP_S

    @rule(deeds=st.lists(st.sampled_from([WELL, "no worker", *MISDEEDS]), min_size=1, max_size=6))
    def script(self, deeds: list[str]) -> None:
        self.rig.script += deeds

    @rule(
        timeout_s=st.none() | st.sampled_from([0.05, 1.0, 5.0, 30.0]),
        wait=st.booleans(),
        exposure_us=st.sampled_from([None, 2_000_000]),
        request_id=st.sampled_from(["", "", "a", "b"]),
    )
    def capture(
        self, timeout_s: float | None, wait: bool, exposure_us: int | None, request_id: str
    ) -> None:
        values = {} if exposure_us is None else {"exposure_duration_us": exposure_us}
        worst_s = worst_case_s(OPTIONS, (exposure_us or 0) / 1e6)
        worst_s *= (OPTIONS.queue_limit + 2) if wait else 1
        order = Order(Shot(controls=dict(values)), request_id, wait=wait)
        capture = self.rig.camera.capture(order, timeout_s)
        bound_s = worst_s if timeout_s is None else min(timeout_s, worst_s)
        self.rig.begin(capture, bound_s + LOOKUP_S)

    @rule(timeout_s=st.none() | st.sampled_from([0.05, 5.0]))
    def set_controls(self, timeout_s: float | None) -> None:
        worst_s = worst_case_s(OPTIONS)
        self.rig.begin(self.rig.camera.set_controls({}, timeout_s), timeout_s or worst_s)

    @rule()
    def reset(self) -> None:
        self.rig.begin(self.rig.camera.reset(), OPTIONS.open_timeout_s)

    @precondition(lambda self: any(not c.task.done() for c in self.rig.stage.calls))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from([c for c in self.rig.stage.calls if not c.task.done()]))
        call.leave()
        self.rig.wait(0)

    @precondition(lambda self: self.rig.worker is not None)
    @rule()
    def worker_dies(self) -> None:
        assert self.rig.worker is not None
        self.rig.worker.die()
        self.rig.wait(0.001)

    @rule(seconds=st.sampled_from([0.05, 0.3, 2.0, 11.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.rig.wait(seconds)

    @invariant()
    def every_call_is_answered_in_time(self) -> None:
        self.rig.stage.check_calls()

    @invariant()
    def the_state_fits(self) -> None:
        view = self.rig.view
        if view.state is State.READY:
            assert self.rig.worker is not None
            assert not self.rig.worker.gone, "a dead worker is taken for a ready camera"
            assert view.fault is None
        if view.state is State.FAULTED:
            assert isinstance(view.fault, CameraFaulted)

    @rule(full=st.booleans(), fails=st.booleans())
    def disk(self, full: bool, fails: bool) -> None:
        self.rig.archive.full, self.rig.archive.fails = full, fails

    def teardown(self) -> None:
        """Let everything end; then the camera works again."""
        self.disk(False, False)
        self.rig.wait(300)
        assert not self.rig.archive.running, "a capture that never ended"
        self.every_call_is_answered_in_time()
        self.rig.script.clear()
        self.rig.wait(60)
        if self.rig.view.state is State.FAULTED:
            self.rig.run(self.rig.camera.reset())
        shots = self.rig.shots
        self.rig.run(self.rig.camera.capture(Order(Shot()), 5))
        assert self.rig.shots == shots + 1
        self.rig.close()


TestClients = Clients.TestCase
TestClients.settings = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture
def rig() -> Any:
    rig = Rig()
    yield rig
    rig.close()


def test_a_hang_costs_one_attempt(rig: Rig) -> None:
    rig.script = [WELL, "hang"]
    result = rig.run(rig.camera.capture(Order(Shot())))
    assert (result.record.attempts, result.record.recoveries) == (2, 1)
    assert rig.loop.time() == pytest.approx(10 + 0.1 + OPTIONS.attempt_pause_s + 0.1, abs=0.1)


def test_no_worker_is_taken_before_a_killed_one_has_gone(rig: Rig) -> None:
    """It may hold the device yet: the next one would be told that another program does."""
    rig.script, rig.lingers_s = [WELL, "hang"], 0.3
    rig.run(rig.camera.capture(Order(Shot())))
    assert rig.shots == 1
    assert len(rig.workers) == 2
    assert rig.loop.time() < OPTIONS.attempt_timeout_s + rig.lingers_s + 1


def test_all_attempts_hanging_ends_in_unavailable(rig: Rig) -> None:
    rig.script = [WELL, "hang", WELL, "hang", WELL, "hang"]
    with pytest.raises(
        CameraUnavailable, match=r"failed in 3 of 3 attempts.*not answered|no answer"
    ):
        rig.run(rig.camera.capture(Order(Shot())))
    assert rig.loop.time() < worst_case_s(OPTIONS)


def test_the_worst_case_bounds_a_call_without_deadline(rig: Rig) -> None:
    rig.script = ["hang"] * 50
    with pytest.raises(CameraServiceError):
        rig.run(rig.camera.capture(Order(Shot())))
    assert rig.loop.time() <= worst_case_s(OPTIONS) + TICK_S


def test_a_deadline_ends_the_call_and_the_next_capture_succeeds(rig: Rig) -> None:
    rig.script = [WELL, "hang"]
    with pytest.raises(CaptureTimeout, match="deadline"):
        rig.run(rig.camera.capture(Order(Shot()), 1))
    assert rig.loop.time() == pytest.approx(1, abs=TICK_S)
    rig.run(rig.camera.capture(Order(Shot()), 1))
    assert rig.shots == 1


def test_an_abandoned_shot_may_end_and_the_device_is_not_killed(rig: Rig) -> None:
    rig.run(rig.camera.capture(Order(Shot())))
    call = rig.begin(rig.camera.capture(Order(Shot())), 1)
    rig.wait(0.05)
    call.leave()
    rig.run(rig.camera.capture(Order(Shot()), 1))
    assert (rig.shots, len(rig.workers)) == (3, 1)


def test_a_call_cancelled_before_its_first_step_leaves_the_line(rig: Rig) -> None:
    async def cancelled_at_once() -> None:
        task = asyncio.ensure_future(rig.camera.capture(Order(Shot())))
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    rig.run(cancelled_at_once())
    rig.run(rig.camera.capture(Order(Shot()), 5))


def test_refused_clients_are_told_different_times(rig: Rig) -> None:
    rig.run(rig.camera.capture(Order(Shot())))
    rig.begin(rig.camera.capture(Order(Shot())), 1)
    waits = []
    for _ in range(5):
        with pytest.raises(CameraBusy) as refusal:
            rig.run(rig.camera.capture(Order(Shot())))
        waits.append(refusal.value.retry_after_s or 0.0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(waits)]
    assert all(gap > 0.1 for gap in gaps), "each gets the turn after the one promised before"
    assert rig.view.captures.captures_rejected == 5


def test_a_faulted_camera_refuses_at_once_and_reset_brings_it_back(rig: Rig) -> None:
    rig.script = ["fault"]
    with pytest.raises(CameraFaulted, match="scripted"):
        rig.run(rig.camera.capture(Order(Shot())))
    before = rig.loop.time()
    with pytest.raises(CameraFaulted):
        rig.run(rig.camera.capture(Order(Shot())))
    assert rig.loop.time() == before
    rig.run(rig.camera.reset())
    rig.run(rig.camera.capture(Order(Shot())))


def test_resets_in_quick_succession_open_the_camera_once(rig: Rig) -> None:
    """The first one's opening takes its time to give up, when the second one's is given up, too."""
    openings = 0

    async def take() -> FakeWorker:
        nonlocal openings
        openings += 1
        assert openings == 1, "two at once"
        try:
            await asyncio.sleep(1)
            return await FakeCamera.take(rig)
        finally:
            await asyncio.sleep(1)
            openings -= 1

    rig.take_worker = take
    calls = []
    for _ in range(4):
        calls.append(rig.begin(rig.camera.reset(), bound_s=30))
        rig.wait(0.1)
    rig.wait(20)
    assert [call.task.exception() for call in calls] == [None] * 4
    assert rig.view.state is State.READY
    assert len(rig.workers) == 1


def test_while_backing_off_a_new_call_is_told_when_to_come_back(rig: Rig) -> None:
    rig.script = ["error"] * 8
    rig.loop.call_soon(rig.camera.open)
    rig.wait(2.5)
    with pytest.raises(CameraUnavailable, match="next try") as refusal:
        rig.run(rig.camera.capture(Order(Shot())))
    assert refusal.value.retry_after_s
    rig.wait(refusal.value.retry_after_s + 30)
    rig.run(rig.camera.capture(Order(Shot())))


def test_a_refused_request_is_no_failure_of_the_camera(rig: Rig) -> None:
    rig.script = [WELL, "refuse"]
    with pytest.raises(Unsupported):
        rig.run(rig.camera.capture(Order(Shot())))
    assert rig.view.state is State.READY
    assert len(rig.workers) == 1
    assert not rig.archive.records, "and no capture"
    assert [event.type for event in rig.archive.events] == [EventType.REJECTED]
    assert rig.view.captures.captures_failed == 0


def test_a_drivers_state_goes_from_one_worker_to_the_next(rig: Rig) -> None:
    rig.script = [WELL, "die"]
    rig.run(rig.camera.capture(Order(Shot())))
    assert rig.opened[-1].driver_state == rig.workers[0].driver_state


def test_an_idle_camera_is_closed_and_opened_again_on_use() -> None:
    rig = Rig(camera_options(idle_close_s=5.0))
    rig.run(rig.camera.capture(Order(Shot())))
    states = []
    for seconds in (4, 2):
        rig.wait(seconds)
        states.append(rig.view.state)
    assert states == [State.READY, State.CLOSED]
    rig.run(rig.camera.capture(Order(Shot())))
    assert len(rig.workers) == 2
    rig.close()


def test_controls_survive_a_recovery(rig: Rig) -> None:
    rig.run(rig.camera.set_controls({"focus_distance_diopters": 8.2}))
    rig.script = ["die"]
    rig.run(rig.camera.capture(Order(Shot())))
    assert rig.opened[-1].controls == {"focus_distance_diopters": 8.2}


def test_a_wrong_control_in_the_settings_is_a_fault(rig: Rig) -> None:
    async def refuse(command: m.Command[Any], timeout_s: float) -> Any:
        raise InvalidRequest("controls[gain]", "99.0 is out of range; allowed: float from 1 to 16")

    async def take() -> FakeWorker:
        worker = await Rig.take(rig)
        worker.call = refuse  # type: ignore[method-assign]
        return worker

    rig.take_worker = take
    with pytest.raises(CameraFaulted, match=r"settings' controls\[gain\]"):
        rig.run(rig.camera.capture(Order(Shot())))


@pytest.mark.parametrize(("timeout_s", "bound_s"), [(None, 75.0), (35.0, 35.0), (100.0, 75.0)])
def test_one_deadline_bounds_the_look_up_and_the_shot_together(
    rig: Rig, timeout_s: float | None, bound_s: float
) -> None:
    rig.archive.lookup_s = 70.0
    rig.script = [WELL, "hang"] * OPTIONS.attempts
    assert worst_case_s(OPTIONS) == 75.0
    with pytest.raises(CaptureTimeout, match=rf"after {bound_s:g} s"):
        rig.run(rig.camera.capture(Order(Shot()), timeout_s))
    assert rig.loop.time() == pytest.approx(bound_s, abs=TICK_S)


def test_those_ahead_count_where_all_came_at_once_and_were_looked_up() -> None:
    """None of them was in the queue when the others arrived."""
    options = replace(OPTIONS, attempts=1, attempt_timeout_s=8.0, open_timeout_s=2.0)
    rig = Rig(options)
    rig.archive.lookup_s = 1.0
    rig.script = [WELL, "slow", "slow", "slow"]
    calls = [rig.begin(rig.camera.capture(Order(Shot(), wait=True)), bound_s=60) for _ in range(3)]
    rig.wait(60)
    assert [call.task.exception() for call in calls] == [None] * 3
    assert 2 * worst_case_s(options) < 3 * SLOW_S
    rig.close()


def test_busy_is_told_at_once_however_long_the_disk_takes_to_answer(rig: Rig) -> None:
    rig.script = [WELL, "hang"]
    rig.begin(rig.camera.capture(Order(Shot())), bound_s=worst_case_s(OPTIONS))
    rig.wait(0.1)
    rig.archive.look_s = 60.0
    begun = rig.loop.time()
    with pytest.raises(CameraBusy):
        rig.run(rig.camera.capture(Order(Shot(), request_id="new")))
    assert rig.loop.time() == pytest.approx(begun, abs=TICK_S)


@pytest.mark.parametrize("deeds", list(itertools.product(["fault", "die", WELL], repeat=3)))
@pytest.mark.parametrize("pause_s", [0.0, 0.05, 0.1])
def test_resets_in_a_row_while_the_worker_fails_end_ready(
    rig: Rig, deeds: tuple[str, ...], pause_s: float
) -> None:
    """What a revival reports that was replaced meanwhile is not the camera's any more."""
    calls = []
    for deed in deeds:
        rig.script.append(deed)
        calls.append(rig.begin(rig.camera.reset(), bound_s=OPTIONS.open_timeout_s))
        if rig.worker is not None and deed == "die":
            rig.worker.die()
        rig.wait(pause_s)
    rig.wait(60)
    rig.stage.check_calls()
    fault = rig.view.fault
    assert fault is None or "internal error" not in fault.message
    rig.script.clear()
    rig.run(rig.camera.reset())
    assert rig.view.state is State.READY
