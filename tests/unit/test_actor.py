"""The actor against a worker that may do anything, in virtual time.

Hypothesis chooses what clients ask, when they leave, and what the worker does to each command.
Whatever it chooses: every call is answered within its bound, at most one command is under way in a
worker, every worker that was given up is killed, and once the worker behaves again, the next
capture succeeds.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import looptime
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from camsvc.camera import CameraActor
from camsvc.errors import (
    CameraBusy,
    CameraFaulted,
    CameraServiceError,
    CameraUnavailable,
    CaptureTimeout,
    DriverError,
    DriverFault,
    InvalidRequest,
    Unsupported,
    WorkerLost,
    WorkerTimeout,
)
from camsvc.frames import ImageInfo
from camsvc.lifecycle import State
from camsvc.supervisor import CameraOptions
from camsvc.worker import messages as m

OPTIONS = CameraOptions(
    id="cam", driver="fake", attempts=3, attempt_timeout_s=10, open_timeout_s=15, queue_limit=3
)
TICK_S = 0.01  # what a bound may be passed by: steps of the event loop take no virtual time

WELL = "well"
MISDEEDS = ("hang", "slow", "error", "fault", "refuse", "die")


class FakeWorker:
    """Does to each command what the script says next, and then behaves."""

    numbers = itertools.count(1)

    def __init__(self, rig: "Rig") -> None:
        self._rig = rig
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.create_task(self._end())
        self.under_way = 0
        self.killed = False
        self.camera = ""
        self.on_live: Callable[[m.LiveEvent], None] = lambda event: None
        self.notes = str(next(self.numbers)).encode()

    async def _end(self) -> None:
        await asyncio.wait([self._gone])

    def tell(self, command: m.SetLive) -> None:
        pass

    def take_live(self, images: Sequence[m.LiveImage]) -> list[bytes]:
        return [b"frame" for _ in images]

    def kill(self, why: str, *, dump_stack: bool = False) -> None:
        self.killed = True
        self.die()

    def die(self) -> None:
        if not self._gone.done():
            self._gone.set_result(None)

    def take_image(self, image: ImageInfo) -> bytes:
        return b"picture"

    async def call(self, command: m.Command, timeout_s: float) -> m.Answer:
        assert self._rig.worker is self, "a worker that was given up is called"
        assert not self.under_way, "two commands at once"
        if self._gone.done():
            raise WorkerLost("it is dead")
        self.under_way += 1
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answer(command)
        except TimeoutError:
            raise WorkerTimeout("no answer") from None
        finally:
            self.under_way -= 1

    async def _answer(self, command: m.Command) -> m.Answer:
        deed = self._rig.script.pop(0) if self._rig.script else WELL
        match deed:
            case "hang":
                await asyncio.wait([self._gone])
                raise WorkerLost("killed")
            case "slow":
                await self._pause(7)
            case "error":
                raise DriverError("scripted")
            case "fault":
                raise DriverFault("scripted")
            case "refuse":
                raise Unsupported("scripted")
            case "die":
                await self._pause(0.05)
                self.die()
        await self._pause(0.1)
        if self._gone.done():
            raise WorkerLost("it died")
        match command:
            case m.Open():
                return m.Opened(m.DeviceInfo("fake", ["JPEG"], expected_capture_s=0.1))
            case m.Capture():
                self._rig.shots += 1
                return m.Captured(ImageInfo(0, 7, "image/jpeg", 1, 1, 1, ""), 0.1, 0.0)
            case m.ListControls() | m.SetControls():
                return m.Controls([])
            case _:
                return m.Done()

    async def _pause(self, seconds: float) -> None:
        await asyncio.wait([self._gone], timeout=seconds)


@dataclass(eq=False)
class Call:
    task: "asyncio.Task[Any]"
    bound: float


class Rig:
    """An actor, its fake workers, and the calls under way, on a loop with virtual time."""

    def __init__(self, options: CameraOptions = OPTIONS) -> None:
        self.loop = looptime.new_event_loop(start=0)
        self.script: list[str] = []
        self.worker: FakeWorker | None = None
        self.workers: list[FakeWorker] = []
        self.shots = 0
        self.calls: list[Call] = []
        self.actor = self.run(self._actor(options))

    async def _actor(self, options: CameraOptions) -> CameraActor:
        return CameraActor(options, self._take)

    async def _take(self) -> FakeWorker:
        if self.script and self.script[0] == "no worker":
            self.script.pop(0)
            raise WorkerLost("it could not be started")
        if self.worker is not None:
            assert self.worker._gone.done(), "a worker is replaced that still runs"
        self.worker = FakeWorker(self)
        self.workers.append(self.worker)
        return self.worker

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))
        for _ in range(10):  # let what fell due at that very moment take effect
            self.run(asyncio.sleep(0))

    def begin(self, work: Coroutine[Any, Any, Any], bound_s: float) -> Call:
        call = Call(self.loop.create_task(work), self.loop.time() + bound_s + TICK_S)
        self.calls.append(call)
        self.run(asyncio.sleep(0))
        return call

    def close(self) -> None:
        self.run(self.actor.close())
        self.run(asyncio.sleep(1))
        left = list(asyncio.all_tasks(self.loop))
        assert not left, f"tasks left behind: {left}"
        assert all(worker.killed for worker in self.workers), "a worker was never killed"
        self.loop.close()


class Clients(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()

    @rule(deeds=st.lists(st.sampled_from([WELL, "no worker", *MISDEEDS]), min_size=1, max_size=6))
    def script(self, deeds: list[str]) -> None:
        self.rig.script += deeds

    @rule(
        timeout_s=st.none() | st.sampled_from([0.05, 1.0, 5.0, 30.0]),
        wait=st.booleans(),
        exposure_us=st.sampled_from([None, 2_000_000]),
    )
    def capture(self, timeout_s: float | None, wait: bool, exposure_us: int | None) -> None:
        values = {} if exposure_us is None else {"exposure_duration_us": exposure_us}
        worst_s = self.rig.actor.worst_case_s((exposure_us or 0) / 1e6)
        worst_s *= (OPTIONS.queue_limit + 2) if wait else 1
        capture = self.rig.actor.capture(
            m.Shot(controls=dict(values)), wait=wait, timeout_s=timeout_s
        )
        self.rig.begin(capture, worst_s if timeout_s is None else min(timeout_s, worst_s))

    @rule(timeout_s=st.none() | st.sampled_from([0.05, 5.0]))
    def set_controls(self, timeout_s: float | None) -> None:
        worst_s = self.rig.actor.worst_case_s()
        self.rig.begin(self.rig.actor.set_controls({}, timeout_s), timeout_s or worst_s)

    @rule()
    def reset(self) -> None:
        self.rig.begin(self.rig.actor.reset(), OPTIONS.open_timeout_s)

    @precondition(lambda self: any(not c.task.done() for c in self.rig.calls))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from([c for c in self.rig.calls if not c.task.done()]))
        call.task.cancel()
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
        now = self.rig.loop.time()
        for call in self.rig.calls:
            if call.task.done() and not call.task.cancelled():
                error = call.task.exception()
                assert error is None or isinstance(error, CameraServiceError), repr(error)
            assert call.task.done() or now <= call.bound, f"unanswered since {now - call.bound} s"
        self.rig.calls = [call for call in self.rig.calls if not call.task.done()]

    @invariant()
    def the_state_fits(self) -> None:
        actor = self.rig.actor
        if actor.supervisor.state is State.READY:
            assert self.rig.worker is not None
            assert not self.rig.worker._gone.done(), "a dead worker is taken for a ready camera"
            assert actor.supervisor.fault is None
        if actor.supervisor.state is State.FAULTED:
            assert isinstance(actor.supervisor.fault, CameraFaulted)

    def teardown(self) -> None:
        """Let everything end; then the camera works again."""
        self.rig.wait(300)
        self.every_call_is_answered_in_time()
        self.rig.script.clear()
        self.rig.wait(60)
        if self.rig.actor.supervisor.state is State.FAULTED:
            self.rig.run(self.rig.actor.reset())
        shots = self.rig.shots
        self.rig.run(self.rig.actor.capture(m.Shot(), timeout_s=5))
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
    result = rig.run(rig.actor.capture(m.Shot()))
    assert (result.attempts, result.recoveries) == (2, 1)
    assert rig.loop.time() == pytest.approx(10 + 2 * 0.1 + 0.1, abs=0.1)


def test_all_attempts_hanging_ends_in_unavailable(rig: Rig) -> None:
    rig.script = [WELL, "hang", WELL, "hang", WELL, "hang"]
    with pytest.raises(
        CameraUnavailable, match=r"failed in 3 of 3 attempts.*not answered|no answer"
    ):
        rig.run(rig.actor.capture(m.Shot()))
    assert rig.loop.time() < rig.actor.worst_case_s()


def test_the_worst_case_bounds_a_call_without_deadline(rig: Rig) -> None:
    rig.script = ["hang"] * 50
    with pytest.raises(CameraServiceError):
        rig.run(rig.actor.capture(m.Shot()))
    assert rig.loop.time() <= rig.actor.worst_case_s() + TICK_S


def test_a_deadline_ends_the_call_and_the_next_capture_succeeds(rig: Rig) -> None:
    rig.script = [WELL, "hang"]
    with pytest.raises(CaptureTimeout, match="deadline"):
        rig.run(rig.actor.capture(m.Shot(), timeout_s=1))
    assert rig.loop.time() == pytest.approx(1, abs=TICK_S)
    rig.run(rig.actor.capture(m.Shot(), timeout_s=1))
    assert rig.shots == 1


def test_an_abandoned_shot_may_end_and_the_device_is_not_killed(rig: Rig) -> None:
    rig.run(rig.actor.capture(m.Shot()))
    call = rig.begin(rig.actor.capture(m.Shot()), 1)
    rig.wait(0.05)
    call.task.cancel()
    rig.run(rig.actor.capture(m.Shot(), timeout_s=1))
    assert (rig.shots, len(rig.workers)) == (3, 1)


def test_a_call_cancelled_before_its_first_step_leaves_the_line(rig: Rig) -> None:
    async def cancelled_at_once() -> None:
        task = asyncio.ensure_future(rig.actor.capture(m.Shot()))
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    rig.run(cancelled_at_once())
    rig.run(rig.actor.capture(m.Shot(), timeout_s=5))


def test_refused_clients_are_told_different_times(rig: Rig) -> None:
    rig.run(rig.actor.capture(m.Shot()))
    rig.begin(rig.actor.capture(m.Shot()), 1)
    waits = []
    for _ in range(5):
        with pytest.raises(CameraBusy) as refusal:
            rig.run(rig.actor.capture(m.Shot()))
        waits.append(refusal.value.retry_after_s or 0.0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(waits)]
    assert all(gap > 0.1 for gap in gaps), "each gets the turn after the one promised before"
    assert rig.actor.statistics.captures_rejected == 5


def test_a_faulted_camera_refuses_at_once_and_reset_brings_it_back(rig: Rig) -> None:
    rig.script = ["fault"]
    with pytest.raises(CameraFaulted, match="scripted"):
        rig.run(rig.actor.capture(m.Shot()))
    before = rig.loop.time()
    with pytest.raises(CameraFaulted):
        rig.run(rig.actor.capture(m.Shot()))
    assert rig.loop.time() == before
    rig.run(rig.actor.reset())
    rig.run(rig.actor.capture(m.Shot()))


def test_while_backing_off_a_new_call_is_told_when_to_come_back(rig: Rig) -> None:
    rig.script = ["error"] * 8
    rig.loop.call_soon(rig.actor.supervisor.open)
    rig.wait(2.5)
    with pytest.raises(CameraUnavailable, match="next try") as refusal:
        rig.run(rig.actor.capture(m.Shot()))
    assert refusal.value.retry_after_s
    rig.wait(refusal.value.retry_after_s + 30)
    rig.run(rig.actor.capture(m.Shot()))


def test_a_refused_request_is_no_failure_of_the_camera(rig: Rig) -> None:
    rig.script = [WELL, "refuse"]
    with pytest.raises(Unsupported):
        rig.run(rig.actor.capture(m.Shot()))
    assert rig.actor.supervisor.state is State.READY
    assert len(rig.workers) == 1


def test_notes_go_from_one_worker_to_the_next(rig: Rig) -> None:
    rig.script = [WELL, "die"]
    rig.run(rig.actor.capture(m.Shot()))
    assert rig.actor.supervisor._notes == rig.workers[0].notes


def test_an_idle_camera_is_closed_and_opened_again_on_use() -> None:
    rig = Rig(CameraOptions(id="cam", driver="fake", idle_close_s=5))
    rig.run(rig.actor.capture(m.Shot()))
    states = []
    for seconds in (4, 2):
        rig.wait(seconds)
        states.append(rig.actor.supervisor.state)
    assert states == [State.READY, State.CLOSED]
    rig.run(rig.actor.capture(m.Shot()))
    assert len(rig.workers) == 2
    rig.close()


def test_controls_survive_a_recovery(rig: Rig) -> None:
    rig.run(rig.actor.set_controls({"focus_distance_diopters": 8.2}))
    rig.script = ["die"]
    rig.run(rig.actor.capture(m.Shot()))
    assert rig.actor.supervisor.controls == {"focus_distance_diopters": 8.2}


def test_a_wrong_control_in_the_settings_is_a_fault(rig: Rig) -> None:
    async def refuse(command: m.Command, timeout_s: float) -> m.Answer:
        raise InvalidRequest("controls[gain]", "99.0 is out of range; allowed: float from 1 to 16")

    async def take() -> FakeWorker:
        worker = await Rig._take(rig)
        worker.call = refuse  # type: ignore[method-assign]
        return worker

    rig.actor.supervisor._take_worker = take
    with pytest.raises(CameraFaulted, match=r"settings' controls\[gain\]"):
        rig.run(rig.actor.capture(m.Shot()))
