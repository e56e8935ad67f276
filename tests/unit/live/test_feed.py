"""Live view in virtual time: what viewers are told, when, and what they never see."""

import itertools
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from camsvc.camera.capture import Order
from camsvc.ipc import messages as m
from camsvc.live.stall import StallDetector
from camsvc.live.viewer import LiveFrame, LiveState, LiveStatus
from camsvc.model.lifecycle import State
from camsvc.model.values import DeviceInfo, Shot
from tests.support.fakelive import FPS, LiveRig

STALL_S = 2.0


def heartbeats(rig: LiveRig, seconds: float) -> list[float]:
    """Return the gaps between what the first viewer is told in some time without frames."""
    watching = rig.watching[0]
    first = len(watching.items)
    rig.wait(seconds)
    times = [at for at, _ in watching.items[first:]]
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def test_the_first_item_is_a_status_and_comes_at_once(rig: LiveRig) -> None:
    watching = rig.watch()
    assert watching.items[0][0] == 0
    assert watching.states == ["STARTING"]
    rig.open()
    rig.flow(0.5)
    late = rig.watch()
    assert late.items[0][0] == rig.loop.time()
    assert late.states == ["LIVE"], "also for one who comes when frames flow"


def test_starting_then_live_then_frames(flowing: LiveRig) -> None:
    (watching,) = flowing.watching
    assert watching.states == ["STARTING", "LIVE"]
    assert [frame.sequence for frame in watching.frames] == list(range(1, FPS + 1))


def test_a_heartbeat_comes_each_second_while_frames_do_not_flow_and_none_while_they_do(
    flowing: LiveRig,
) -> None:
    (watching,) = flowing.watching
    told = len(watching.statuses)
    flowing.flow(5)
    assert len(watching.statuses) == told
    flowing.script = ["hang"]
    flowing.begin(flowing.camera.capture(Order(Shot())))
    gaps = heartbeats(flowing, 9)
    assert watching.states[told] == "PAUSED"
    assert len(gaps) >= 8
    assert all(gap == pytest.approx(1, abs=0.01) for gap in gaps)


def test_a_status_comes_within_a_second_when_frames_stop(flowing: LiveRig) -> None:
    (watching,) = flowing.watching
    said = len(watching.statuses)
    flowing.wait(1.05)
    (status,) = watching.statuses[said:]
    assert (status.state, status.reason) == (LiveState.LIVE, "no frame came for 1.0 s")


def test_a_frame_that_was_not_fetched_gives_way_to_the_newest_and_is_counted(
    flowing: LiveRig,
) -> None:
    slow = flowing.watch(fetches=False)
    assert isinstance(slow.fetch(), LiveStatus)
    for _ in range(4):
        flowing.frame()
    item = slow.fetch()
    assert isinstance(item, LiveFrame)
    assert item.sequence == FPS + 4
    assert slow.viewer.dropped == 3
    assert flowing.watching[0].viewer.dropped == 0, "others lose nothing"
    with pytest.raises(TimeoutError):
        slow.fetch()


def test_frames_that_the_worker_had_no_room_for_are_counted_and_leave_a_gap(
    flowing: LiveRig,
) -> None:
    flowing.frame(skipped=3)
    (watching,) = flowing.watching
    assert watching.frames[-1].sequence == FPS + 4
    assert watching.viewer.dropped == 3


def test_a_status_makes_what_was_not_fetched_before_it_history(flowing: LiveRig) -> None:
    slow = flowing.watch(fetches=False)
    assert isinstance(slow.fetch(), LiveStatus)
    flowing.frame()
    flowing.begin(flowing.camera.capture(Order(Shot())))
    item = slow.fetch()
    assert isinstance(item, LiveStatus)
    assert item.state is LiveState.PAUSED
    with pytest.raises(TimeoutError):
        slow.fetch()


def test_a_still_pauses_and_then_frames_go_on(flowing: LiveRig) -> None:
    (watching,) = flowing.watching
    seen = watching.frames[-1]
    assert flowing.view.live.frames_total == FPS
    flowing.begin(flowing.camera.capture(Order(Shot())))
    status = watching.statuses[-1]
    assert (status.state, status.reason) == (LiveState.PAUSED, "a still is being taken")
    assert status.last_frame_ns == seen.acquisition_time_ns
    flowing.wait(0.2)
    assert flowing.view.live.frames_total == FPS
    assert flowing.view.live.fps == 0
    flowing.flow(0.5)
    assert watching.states == ["STARTING", "LIVE", "PAUSED", "LIVE"]
    assert flowing.view.live.frames_total == FPS * 1.5
    assert watching.frames[-1].sequence == seen.sequence + FPS / 2


def test_a_frame_read_before_the_still_is_not_shown_during_it(flowing: LiveRig) -> None:
    (watching,) = flowing.watching
    count = len(watching.frames)
    flowing.begin(flowing.camera.capture(Order(Shot())))
    flowing.frame()
    assert watching.states[-1] == "PAUSED"
    assert len(watching.frames) == count
    worker = flowing.worker
    assert worker is not None
    assert worker.released == flowing.delivered, "its memory is given back all the same"


def test_a_camera_that_can_do_both_is_not_paused(rig: LiveRig) -> None:
    rig.device = DeviceInfo("both", ["JPEG"], live_view=True, capture_during_live_view=True)
    watching = rig.watch()
    rig.open()
    rig.flow(0.5)
    rig.begin(rig.camera.capture(Order(Shot())))
    rig.frame()
    rig.wait(0.2)
    rig.flow(0.5)
    assert watching.states == ["STARTING", "LIVE"]


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("call", ["capture", "set_controls"])
def test_no_picture_stands_still_without_a_word_during_a_long_call(
    rig: LiveRig, both: bool, call: str
) -> None:
    """A driver does one thing at a time, also one that takes stills without a pause."""
    rig.device = DeviceInfo("fake", ["JPEG"], live_view=True, capture_during_live_view=both)
    watching = rig.watch()
    rig.open()
    rig.flow(1)
    rig.command_s = 8
    camera = rig.camera
    rig.begin(camera.capture(Order(Shot())) if call == "capture" else camera.set_controls({}))
    rig.wait(STALL_S + 0.5)
    assert watching.states[-1] == "PAUSED"
    rig.wait(8 - STALL_S)
    rig.flow(0.5)
    assert watching.states[-1] == "LIVE"
    assert rig.workers == 1


def test_a_stall_is_noticed_after_its_timeout_and_the_same_stream_goes_on(
    flowing: LiveRig,
) -> None:
    (watching,) = flowing.watching
    stalled_at = flowing.loop.time()
    flowing.wait(STALL_S - 0.1)
    assert watching.states[-1] == "LIVE"
    flowing.wait(0.7)
    at, status = next(i for i in watching.items if getattr(i[1], "error", None) is not None)
    assert isinstance(status, LiveStatus)
    assert status.state is LiveState.RECOVERING
    assert "no live frame came within 2 s" in status.reason
    assert STALL_S <= at - stalled_at <= STALL_S + 0.51
    assert flowing.workers == 2, "it hangs: another one"
    flowing.open()
    flowing.flow(0.5)
    assert watching.states[-1] == "LIVE"


def test_a_camera_that_may_be_silent_is_given_so_much_longer(rig: LiveRig) -> None:
    rig.device = replace(rig.device, max_silence_s=15.0)
    watching = rig.watch()
    rig.open()
    rig.flow(0.5)
    rig.wait(15 + STALL_S - 0.2)
    assert set(watching.states) == {"STARTING", "LIVE"}
    rig.wait(0.9)
    assert "RECOVERING" in watching.states
    reason = next(s.reason for s in watching.statuses if s.error is not None)
    assert "17 s, the stall_timeout_s and the 15 s for which it may be silent" in reason


def test_so_is_an_attempt_of_a_still(rig: LiveRig) -> None:
    rig.device = replace(rig.device, max_silence_s=15.0)
    rig.watch()
    rig.open()
    worst_s = rig.view.worst_case_s
    assert worst_s == 3 * (15 + 10 + 15)
    rig.command_s = 24.0
    still = rig.begin(rig.camera.capture(Order(Shot())))
    rig.wait(24.5)
    assert still.done()
    assert rig.workers == 1


def test_a_camera_that_never_delivers_is_found_out_from_its_opening_on(rig: LiveRig) -> None:
    watching = rig.watch()
    rig.open()
    rig.wait(STALL_S + 0.6)
    assert "RECOVERING" in watching.states
    assert watching.statuses[1].reason == "waiting for the first frame"
    rig.wait(20)  # it still does not: the viewer is told so all the time
    assert watching.states[-1] == "RECOVERING"
    assert rig.workers > 2


@pytest.mark.parametrize("call", ["capture", "set_controls"])
def test_the_time_of_a_still_or_a_control_does_not_count_as_a_stall(
    flowing: LiveRig, call: str
) -> None:
    flowing.command_s = 4 * STALL_S
    camera = flowing.camera
    task = flowing.begin(
        camera.capture(Order(Shot())) if call == "capture" else camera.set_controls({})
    )
    flowing.wait(4 * STALL_S + 0.1)
    assert task.done()
    flowing.wait(STALL_S - 0.5)  # and the time after it begins at its end
    assert "RECOVERING" not in flowing.watching[0].states
    assert flowing.workers == 1


@pytest.mark.parametrize("every_s", [0.2, 0.5, 1.0, 3.0])
def test_stills_in_between_do_not_hide_that_live_view_is_dead(
    flowing: LiveRig, every_s: float
) -> None:
    """The end of a still is no sign of life of live view."""
    flowing.command_s = 0.1
    died_at = flowing.loop.time()
    while "RECOVERING" not in flowing.watching[0].states:
        flowing.begin(flowing.camera.capture(Order(Shot())))
        flowing.wait(every_s)
        assert flowing.loop.time() - died_at < 2 * STALL_S + 2 * every_s, "never noticed"
    (at,) = [
        at
        for at, item in flowing.watching[0].items
        if isinstance(item, LiveStatus) and item.state is LiveState.RECOVERING
    ][:1]
    assert at - died_at <= STALL_S + 1.0


def test_a_live_view_that_stills_leave_no_time_for_is_given_some(flowing: LiveRig) -> None:
    """Its first frame comes later than the next still: it is no stall, and viewers see some."""
    flowing.command_s, first_frame_s = 0.1, 0.2
    seen = len(flowing.watching[0].frames)
    for _ in range(60):
        task = flowing.begin(flowing.camera.capture(Order(Shot())))
        waited_s = 0.0
        while not task.done():
            flowing.wait(0.05)
            waited_s += 0.05
            if not task.done() and waited_s >= 0.1 + first_frame_s:
                flowing.frame()  # the still has given way to it
        flowing.wait(0.05)
    assert flowing.workers == 1
    assert "RECOVERING" not in flowing.watching[0].states
    assert len(flowing.watching[0].frames) >= seen + 3


def test_the_time_while_nobody_watches_does_not_count_as_a_stall(flowing: LiveRig) -> None:
    flowing.watching[0].leave()
    flowing.wait(10 * STALL_S)
    watching = flowing.watch()
    flowing.wait(STALL_S - 0.5)
    flowing.flow(0.5)
    assert watching.states[-1] == "LIVE"
    assert flowing.workers == 1


def test_frames_read_before_the_camera_was_lost_are_not_taken_for_its_return(
    flowing: LiveRig,
) -> None:
    """The worker reads on until it is told to recover; that may fail, and last."""
    (watching,) = flowing.watching
    flowing.script = ["error", "error", "error", "error", "error"]
    flowing.begin(flowing.camera.set_controls({}))
    flowing.wait(0.101)
    assert flowing.view.state is State.RECOVERING
    count = len(watching.frames)
    image = m.SharedImage([1], 0, 7, "image/jpeg", 1, 1)
    flowing.deliver(m.SharedFrame(int(2e18), int(2e18), [image], 0.001, 0, 0))
    assert len(watching.frames) == count
    assert watching.states[-1] == "RECOVERING"
    assert all(gap <= 1.01 for gap in heartbeats(flowing, 3))


@pytest.mark.parametrize(
    ("kind", "state"), [("DriverError", "RECOVERING"), ("DriverFault", "OFFLINE")]
)
def test_reading_that_fails_is_told_with_its_error_until_frames_flow_again(
    flowing: LiveRig, kind: str, state: str
) -> None:
    (watching,) = flowing.watching
    flowing.command_s = 5
    flowing.deliver(m.Lost(m.Failed(kind, "the lens fell off")))
    assert watching.states[-1] == state
    assert "the lens fell off" in watching.statuses[-1].reason
    assert len(heartbeats(flowing, 4)) >= 3
    if state == "OFFLINE":
        flowing.begin(flowing.camera.reset())
        assert watching.states[-1] == "STARTING"
        flowing.wait(4)
    flowing.wait(1.1)
    assert flowing.view.state is State.READY
    heartbeats(flowing, 1.5)  # the camera is back, and its first frame is not there yet
    flowing.flow(0.5)
    assert watching.states[-1] == "LIVE"


def test_a_worker_that_dies_is_replaced_while_the_stream_goes_on(flowing: LiveRig) -> None:
    (watching,) = flowing.watching
    assert flowing.worker is not None
    seen = watching.frames[-1].sequence
    flowing.worker.die()
    flowing.settle()
    assert watching.states[-1] == "RECOVERING"
    flowing.open()
    flowing.flow(0.5)
    assert watching.states == ["STARTING", "LIVE", "RECOVERING", "LIVE"]
    assert watching.frames[-1].sequence > seen


def test_an_error_nobody_expected_ends_neither_heartbeats_nor_stall_detection(
    flowing: LiveRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(detector: StallDetector) -> bool:
        raise ZeroDivisionError

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(StallDetector, "stalled", property(broken))
        flowing.wait(0.7)
    (error,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert (error["event"], error["task"]) == ("unhandled exception", "cam live")
    flowing.wait(STALL_S + 1.5)
    assert "RECOVERING" in flowing.watching[0].states
