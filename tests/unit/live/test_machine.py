"""Live view against a camera that may do anything, in virtual time.

Hypothesis chooses who watches and leaves, what the camera delivers, which calls come in between and
how they end. Whatever it chooses: what a viewer sees only ever gets newer, silence is explained
within a second, no picture stands still as live, the worker reads exactly while somebody watches,
and once the camera behaves again, every viewer sees it on the stream he has.
"""

import asyncio
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from camsvc.camera.capture import Order
from camsvc.ipc import messages as m
from camsvc.live.sharing import MAX_VARIANTS
from camsvc.live.spec import LiveSpec
from camsvc.live.viewer import LiveState, LiveStatus
from camsvc.model.errors import CameraServiceError
from camsvc.model.lifecycle import State
from camsvc.model.values import DeviceInfo, Shot
from tests.support.fakelive import LiveRig, Watching

TICK_S = 0.02
MAX_VIEWERS = 12
STALL_S = 2.0
NOTICED_S = STALL_S + 0.26
ATTENDED = (State.READY, State.CAPTURING)
"""The states in which the worker is told what to read."""

SPECS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={"max_width_px": st.integers(1, 10), "max_fps": st.sampled_from([1.0, 10.0, 25.0])},
)


class Viewers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.rig = LiveRig(max_viewers=MAX_VIEWERS, attempts=2)
        self.rig.size_px = 10, 10
        self.present: list[Watching] = []
        self.frames_due: list[tuple[asyncio.Task[Any], float]] = []

    @precondition(lambda self: len(self.present) < MAX_VIEWERS)
    @rule(spec=SPECS, fetches=st.sampled_from([True, True, True, False]))
    def watch(self, spec: dict[str, Any], fetches: bool) -> None:
        self.present.append(self.rig.watch(fetches=fetches, **spec))

    @precondition(lambda self: self.present)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        watching = data.draw(st.sampled_from(self.present))
        self.present.remove(watching)
        watching.leave()

    @precondition(lambda self: self.rig.worker is not None)
    @rule(seconds=st.sampled_from([1 / 30, 0.5, 2.0]))
    def frames(self, seconds: float) -> None:
        self.rig.flow(seconds)

    @precondition(lambda self: self.rig.worker is not None)
    @rule(encode_s=st.sampled_from([0.001, 0.03]))
    def encoding_takes(self, encode_s: float) -> None:
        for _ in range(20):
            self.rig.wait(1 / 30)
            self.rig.frame(encode_s=encode_s)

    @rule(seconds=st.sampled_from([0.05, 0.5, 2.5, 20.0]))
    def silence(self, seconds: float) -> None:
        self.rig.wait(seconds)

    @rule(deeds=st.lists(st.sampled_from(["", "error", "fault", "hang"]), min_size=1, max_size=4))
    def script(self, deeds: list[str]) -> None:
        self.rig.script += deeds

    @rule(seconds=st.sampled_from([0.1, 0.1, 3.0]))
    def commands_take(self, seconds: float) -> None:
        self.rig.command_s = seconds

    @rule(both=st.booleans())
    def can_do_both(self, both: bool) -> None:
        """Holds from the next opening on."""
        self.rig.device = DeviceInfo(
            "fake", ["JPEG"], live_view=True, capture_during_live_view=both
        )

    @rule()
    def capture(self) -> None:
        self.rig.begin(self.rig.camera.capture(Order(Shot(), wait=True)))

    @rule()
    def set_controls(self) -> None:
        self.rig.begin(self.rig.camera.set_controls({}))

    @rule()
    def reset(self) -> None:
        self.rig.begin(self.rig.camera.reset())

    @rule(timeout_s=st.sampled_from([0.5, 5.0]))
    def get_frame(self, timeout_s: float) -> None:
        frame = self.rig.camera.get_frame(LiveSpec(), None, timeout_s)
        due = self.rig.loop.time() + timeout_s + TICK_S
        self.frames_due.append((self.rig.begin(frame), due))

    @precondition(lambda self: self.rig.worker is not None)
    @rule()
    def worker_dies(self) -> None:
        assert self.rig.worker is not None
        self.rig.worker.die()
        self.rig.wait(0.001)

    @precondition(lambda self: self.rig.worker is not None)
    @rule(kind=st.sampled_from(["DriverError", "DriverError", "DriverFault"]))
    def reading_fails(self, kind: str) -> None:
        self.rig.deliver(m.Lost(m.Failed(kind, "scripted")))

    @invariant()
    def what_viewers_see_gets_newer_and_silence_is_explained(self) -> None:
        for watching in self.present:
            watching.check(until=self.rig.loop.time())

    @invariant()
    def no_picture_stands_still_as_live(self) -> None:
        for watching in self.present:
            if not watching.items:
                continue
            at, item = watching.items[-1]
            if not isinstance(item, LiveStatus) or item.state is LiveState.LIVE:
                assert self.rig.loop.time() - at <= max(NOTICED_S, 1 / (watching.fps or 30))
                assert self.rig.view.state in ATTENDED

    @invariant()
    def the_worker_reads_exactly_while_somebody_watches(self) -> None:
        live, worker = self.rig.view.live, self.rig.worker
        assert live.viewers == len(self.present)
        assert live.variants <= MAX_VARIANTS
        assert live.variants > 0 or not self.present
        if self.rig.view.state in ATTENDED:
            assert worker is not None
            assert len(worker.reading) == live.variants

    @invariant()
    def one_frame_is_answered_in_time(self) -> None:
        now = self.rig.loop.time()
        for task, due in self.frames_due:
            assert task.done() or now <= due
            if task.done() and (error := task.exception()) is not None:
                assert isinstance(error, CameraServiceError), repr(error)
        self.frames_due = [(task, due) for task, due in self.frames_due if not task.done()]

    def teardown(self) -> None:
        """Let the camera behave; then everybody sees it, on the stream he has."""
        rig = self.rig
        with rig:
            rig.wait(200)
            rig.script.clear()
            rig.command_s = 0.1
            rig.wait(60)
            if rig.view.state is State.FAULTED:
                rig.begin(rig.camera.reset())
            watching = rig.watch() if not self.present else self.present[0]
            for _ in range(100):  # a back-off may take up to 30 s, and it takes a frame to end it
                rig.wait(1 / 3)
                rig.frame()
            counts = [len(watching.frames) for watching in self.present]
            rig.flow(1.5)
            assert watching.states[-1:] in (["LIVE"], []), watching.states
            for watching, count in zip(self.present, counts, strict=True):
                if watching.fetches:
                    assert len(watching.frames) > count, "nothing to be seen"


TestViewers = Viewers.TestCase
TestViewers.settings = settings(
    max_examples=35,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
