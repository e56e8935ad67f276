"""Groups and single captures on several cameras that may do anything, in virtual time.

Hypothesis chooses who asks for what, who leaves, and what the workers do. Whatever it chooses:
every call is answered within its bound, no two groups wait for each other, those of a group that
are well are triggered together, and once the workers behave again, a group of all succeeds.
"""

import asyncio
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from camsvc.camera.capture import CaptureResult, Order
from camsvc.camera.deadline import worst_case_s
from camsvc.camera.group import Result, capture_group
from camsvc.camera.recovery import Step
from camsvc.model.lifecycle import State
from camsvc.model.values import Shot
from tests.support.fakeworkers import MISDEEDS, TICK_S, WELL, FakeCamera, Stage
from tests.support.options import camera_options

LOOKUP_S = 0.001
QUEUE_LIMIT = 3
NAMES = ("a", "b", "c")
OPTIONS = [
    camera_options(
        name, attempts=2, attempt_timeout_s=10.0, open_timeout_s=15.0, queue_limit=QUEUE_LIMIT
    )
    for name in NAMES
]
WORST_S = worst_case_s(OPTIONS[0]) * (QUEUE_LIMIT + 2)
TIMEOUTS = st.none() | st.sampled_from([0.05, 1.0, 30.0])
REQUEST_IDS = st.sampled_from(["", "", "one", "two"])


class Groups(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        self.stage.archive.lookup_s = LOOKUP_S
        self.cameras = [FakeCamera(self.stage, options) for options in OPTIONS]
        self.groups: list[tuple[asyncio.Task[list[Result]], dict[str, int]]] = []
        """With how often each camera had been away when it began."""

    @rule(
        chosen=st.permutations(range(len(NAMES))),
        size=st.integers(1, len(NAMES)),
        request_id=REQUEST_IDS,
        wait=st.booleans(),
        timeout_s=TIMEOUTS,
    )
    def group(
        self, chosen: list[int], size: int, request_id: str, wait: bool, timeout_s: float | None
    ) -> None:
        order = Order(Shot(), request_id, wait=wait)
        members = [(self.cameras[index].camera, order) for index in chosen[:size]]
        # Each waits for its camera, and for the others that do.
        bound_s = 2 * WORST_S if timeout_s is None else timeout_s
        call = self.stage.begin(capture_group(members, timeout_s), bound_s + 10 * LOOKUP_S)
        self.groups.append((call.task, self.aways()))

    @rule(
        index=st.integers(0, len(NAMES) - 1),
        request_id=REQUEST_IDS,
        wait=st.booleans(),
        timeout_s=TIMEOUTS,
    )
    def capture(self, index: int, request_id: str, wait: bool, timeout_s: float | None) -> None:
        order = Order(Shot(), request_id, wait=wait)
        bound_s = 2 * WORST_S if timeout_s is None else timeout_s
        capture = self.cameras[index].camera.capture(order, timeout_s)
        self.stage.begin(capture, bound_s + 10 * LOOKUP_S)

    @rule(
        index=st.integers(0, len(NAMES) - 1),
        deeds=st.lists(st.sampled_from([WELL, "no worker", *MISDEEDS]), min_size=1, max_size=5),
    )
    def script(self, index: int, deeds: list[str]) -> None:
        self.cameras[index].script += deeds

    @precondition(lambda self: any(not call.task.done() for call in self.stage.calls))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from([c for c in self.stage.calls if not c.task.done()])).leave()
        self.stage.settle()

    @rule(index=st.integers(0, len(NAMES) - 1))
    def worker_dies(self, index: int) -> None:
        worker = self.cameras[index].worker
        if worker is not None:
            worker.die()
            self.stage.wait(0.001)

    @rule(full=st.booleans(), fails=st.booleans())
    def disk(self, full: bool, fails: bool) -> None:
        self.stage.archive.full, self.stage.archive.fails = full, fails

    @rule(seconds=st.sampled_from([0.05, 0.15, 0.3, 2.0, 11.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.stage.wait(seconds)

    def aways(self) -> dict[str, int]:
        """Return how often each camera has been waited for."""
        views = [camera.view for camera in self.cameras]
        counts = [view.recoveries[Step.BACK_OFF].count for view in views]
        return dict(zip(NAMES, counts, strict=True))

    @invariant()
    def every_call_is_answered_in_time(self) -> None:
        self.stage.check_calls()

    @invariant()
    def those_that_are_well_are_triggered_together(self) -> None:
        aways = self.aways()
        for task, before in self.groups:
            if not task.done() or task.cancelled():
                continue
            times = [
                outcome.record.acquisition_time_ns / 1e9
                for outcome in task.result()
                if isinstance(outcome, CaptureResult)
                and outcome.record.attempts == 1
                and outcome.record.recoveries == 0
                # A camera that was away comes later.
                and before[outcome.record.camera] == aways[outcome.record.camera]
                and not outcome.replayed
            ]
            assert not times or max(times) - min(times) < TICK_S
        self.groups = [group for group in self.groups if not group[0].done()]

    def teardown(self) -> None:
        """Let everything end; then a group of all succeeds, each with one shot."""
        self.disk(False, False)
        self.stage.wait(2 * WORST_S)
        assert not self.stage.archive.running, "a capture that never ended"
        self.every_call_is_answered_in_time()
        for camera in self.cameras:
            camera.script.clear()
        self.stage.wait(60)
        for fake in self.cameras:
            if fake.view.state is State.FAULTED:
                self.stage.run(fake.camera.reset())
            fake.shots = 0
        members = [(fake.camera, Order(Shot())) for fake in self.cameras]
        found: list[Any] = self.stage.run(capture_group(members, 5))
        assert all(isinstance(outcome, CaptureResult) for outcome in found), found
        assert [camera.shots for camera in self.cameras] == [1, 1, 1]
        self.stage.close()


TestGroups = Groups.TestCase
TestGroups.settings = settings(
    max_examples=100,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
