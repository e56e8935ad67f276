"""Live view in virtual time: who watches what, who is refused, and one frame for who asks."""

import asyncio
import gc
from typing import Any

import pytest

from camsvc.camera.capture import Order
from camsvc.ipc import messages as m
from camsvc.live.sharing import MAX_VARIANTS
from camsvc.live.spec import LiveSpec
from camsvc.live.viewer import LiveFrame
from camsvc.model.errors import CameraFaulted, CaptureTimeout, QueueFull, Unsupported
from camsvc.model.frame_rate import FrameRateLimiter
from camsvc.model.lifecycle import State
from camsvc.model.values import DeviceInfo, Shot
from tests.support.fakelive import FPS, LiveRig


@pytest.fixture
def large(rig: LiveRig) -> LiveRig:
    """As `flowing`, with a picture that can be scaled."""
    rig.size_px = 1280, 720
    rig.watch()
    rig.open()
    rig.flow(1)
    return rig


def test_more_viewers_than_allowed_are_refused_until_one_leaves() -> None:
    with LiveRig(max_viewers=2) as rig:
        first = rig.watch()
        rig.watch()
        with pytest.raises(QueueFull, match="2 viewers, which is its max_viewers") as refusal:
            rig.watch()
        assert refusal.value.retry_after_s
        assert refusal.value.metadata == {"camera": "cam", "limit": "2"}
        first.leave()
        rig.watch()


def test_the_worker_reads_only_while_somebody_watches(flowing: LiveRig) -> None:
    worker = flowing.worker
    assert worker is not None
    assert len(worker.reading) == 1
    other = flowing.watch(max_width_px=320)
    assert [variant.max_width_px for variant in worker.reading] == [None, 320]
    flowing.watching[0].leave()
    assert [variant.max_width_px for variant in worker.reading] == [320]
    other.leave()
    assert worker.reading == []
    assert flowing.view.live.variants == 0
    flowing.frame()
    again = flowing.watch()
    assert again.states == ["STARTING"], "what was read before is not shown as new"


def test_a_new_worker_is_told_who_watches(flowing: LiveRig) -> None:
    flowing.watch(max_width_px=320)
    assert flowing.worker is not None
    flowing.worker.die()
    flowing.settle()
    flowing.open()
    assert [variant.max_width_px for variant in flowing.worker.reading] == [None, 320]


def test_viewers_of_the_same_picture_are_given_the_same_object(flowing: LiveRig) -> None:
    watchings = [flowing.watch(max_width_px=320) for _ in range(3)]
    flowing.frame()
    assert len({id(watching.frames[-1]) for watching in watchings}) == 1
    assert flowing.watching[0].frames[-1] is not watchings[0].frames[-1]


@pytest.mark.parametrize("max_fps", [10, 20, 25])
def test_a_viewer_who_joins_others_of_its_rate_gets_every_frame_that_they_get(
    rig: LiveRig, max_fps: float
) -> None:
    """The worker selects already; another selection behind it would not be even."""
    first = rig.watch(max_fps=max_fps)
    rig.open()
    worker, pacer = rig.worker, FrameRateLimiter(max_fps)
    assert worker is not None
    late = None
    for index in range(10 * FPS):
        rig.wait(1 / FPS)
        if worker.reading[0].max_fps is None or pacer.takes(rig.loop.time()):
            rig.frame()
        if index == FPS + 1:
            late = rig.watch(max_fps=max_fps)
    assert late is not None
    missed = {f.sequence for f in first.frames if f.sequence > late.frames[0].sequence} - {
        f.sequence for f in late.frames
    }
    assert not missed
    assert len(first.frames) == pytest.approx(10 * max_fps, abs=2)


def test_viewers_of_different_rates_each_get_their_own(flowing: LiveRig) -> None:
    rates = {5.0: flowing.watch(max_fps=5.0), 20.0: flowing.watch(max_fps=20.0)}
    flowing.flow(4)
    for rate, watching in rates.items():
        assert len(watching.frames) == pytest.approx(4 * rate, abs=1.5)


def test_a_viewer_who_is_given_another_variant_misses_no_frame(large: LiveRig) -> None:
    """Neither while the worker has not been told yet, nor as others come and go."""
    worker, (first, *_) = large.worker, large.watching
    assert worker is not None
    small = [large.watch(max_width_px=width) for width in range(16, 23)]
    large.flow(0.2)
    sizes = {watching: watching.frames[-1].image.width_px for watching in small}
    assert sorted(sizes.values()) == [*range(16, 23)]
    for others in range(2):
        told = list(worker.reading)
        others_too = [large.watch(max_width_px=640), large.watch(max_width_px=320)]
        large.frame(reading=told)
        assert len(others_too[0].frames) == 0, "its own size is not made yet"
        large.frame()
        assert [each.frames[-1].image.width_px for each in others_too] == [640, 320]
        assert [each.frames[-1].image.width_px for each in small[-3:]] == [20, 21, 22]
        told = list(worker.reading)
        for watching in others_too:
            watching.leave()
        large.frame(reading=told)
        large.frame()
        assert {each: each.frames[-1].image.width_px for each in small} == sizes, others
    for watching in (first, *small):
        sequences = [frame.sequence for frame in watching.frames]
        assert sequences == [*range(sequences[0], sequences[-1] + 1)]
        assert watching.frames[-1].sequence == FPS + 6 + 8


def test_an_encoder_without_time_for_all_sizes_makes_fewer_until_viewers_have_left(
    large: LiveRig,
) -> None:
    asked = {width: large.watch(max_width_px=width) for width in (1200, 1000, 900, 300)}
    worker = large.worker
    assert worker is not None

    def flow(frames: int) -> list[int]:
        """An encoding takes 8 ms of 33."""
        for _ in range(frames):
            large.wait(1 / FPS)
            large.frame(encode_s=0.008 * len(worker.reading))
        return [watching.frames[-1].image.width_px for watching in asked.values()]

    assert flow(FPS // 3) == [1200, 1000, 900, 300]
    assert flow(FPS) == [1280, 1000, 1000, 300]
    assert flow(2 * FPS) == [1280, 1000, 1000, 300], "that is enough"
    asked.pop(1000).leave()
    assert flow(FPS) == [1280, 900, 300]
    asked.pop(900).leave()
    assert flow(2 * FPS) == [1200, 300], "nobody has to share any more, and there is time for it"


def test_one_frame_is_given_again_in_a_size_that_others_share(
    large: LiveRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while there are no new ones."""
    monkeypatch.setattr("camsvc.live.feed.time.monotonic_ns", large.monotonic_ns)
    watching = [large.watch(max_width_px=width) for width in range(100, 801, 100)]
    large.flow(0.1)
    large.begin(large.camera.capture(Order(Shot())))
    task = large.begin(large.camera.get_frame(LiveSpec(max_width_px=790), 60.0, 5))
    assert task.result() is watching[-1].frames[-1]


def frames_in_memory(rig: LiveRig) -> int:
    """Count the frames that are kept, but for those that the tests' viewers remember."""
    gc.collect()
    remembered = sum(len(watching.frames) for watching in rig.watching)
    return sum(isinstance(each, LiveFrame) for each in gc.get_objects()) - remembered


def test_1000_viewers_come_and_go_and_leave_nothing(flowing: LiveRig) -> None:
    tasks, frames = len(asyncio.all_tasks(flowing.loop)), frames_in_memory(flowing)
    for number in range(1000):
        watching = flowing.watch(max_width_px=100 + number % 20, max_fps=[None, 5.0][number % 2])
        flowing.frame()
        watching.leave()
        flowing.watching.remove(watching)
        del watching
    assert flowing.view.live.viewers == 1
    assert flowing.view.live.variants == 1
    assert len(asyncio.all_tasks(flowing.loop)) == tasks
    assert frames_in_memory(flowing) <= frames + MAX_VARIANTS


def test_a_camera_without_live_view_is_refused_also_when_that_shows_later(rig: LiveRig) -> None:
    rig.device = DeviceInfo("still only", ["JPEG"], live_view=False)
    watching = rig.watch()
    rig.open()
    rig.wait(0.01)
    assert isinstance(watching.error, Unsupported), "as soon as the camera is open"
    watching.leave()
    rig.watching.remove(watching)
    with pytest.raises(Unsupported, match="allowed: Capture"):
        rig.watch()
    assert rig.view.state is State.READY
    rig.run(rig.camera.capture(Order(Shot())))
    assert rig.workers == 1


@pytest.mark.parametrize("leaves_after_s", [0.0, 0.3, 2.0])
def test_an_idle_camera_closes_after_its_last_viewer_whatever_it_was_at(
    leaves_after_s: float,
) -> None:
    with LiveRig(idle_close_s=0.5) as rig:
        rig.command_s = 1.0
        watching = rig.watch()
        rig.wait(leaves_after_s)
        watching.leave()
        rig.wait(4)
        assert rig.view.state is State.CLOSED


def test_a_caller_of_one_frame_waits_for_the_next_and_is_no_viewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with LiveRig(max_viewers=1) as rig:
        monkeypatch.setattr("camsvc.live.feed.time.monotonic_ns", rig.monotonic_ns)
        rig.watch()
        rig.open()
        rig.flow(0.5)
        calls = [rig.camera.get_frame(LiveSpec(), None, 5) for _ in range(5)]
        callers = [rig.begin(call) for call in calls]
        assert rig.view.live.viewers == 1
        rig.frame(age_s=0.02)
        assert not any(task.done() for task in callers), "taken before they asked"
        rig.frame()
        frames = {task.result().sequence for task in callers}
        assert frames == {rig.watching[0].frames[-1].sequence}


@pytest.mark.parametrize(
    ("max_age_s", "waits"), [(None, True), (0.0, True), (0.1, True), (1.0, False)]
)
def test_a_frame_is_given_again_only_as_old_as_allowed(
    flowing: LiveRig, monkeypatch: pytest.MonkeyPatch, max_age_s: float | None, waits: bool
) -> None:
    monkeypatch.setattr("camsvc.live.feed.time.monotonic_ns", flowing.monotonic_ns)
    newest = flowing.watching[0].frames[-1]
    flowing.begin(flowing.camera.capture(Order(Shot())))
    flowing.wait(0.5)
    task = flowing.begin(flowing.camera.get_frame(LiveSpec(), max_age_s, 5))
    assert task.done() != waits
    flowing.frame()
    assert (task.result() is newest) != waits


@pytest.mark.parametrize(
    ("watched", "asked"),
    [
        ({"max_fps": 0.2}, LiveSpec()),
        ({}, LiveSpec(quality_percent=50)),
        ({"max_fps": 0.2}, LiveSpec(quality_percent=50)),
    ],
)
def test_while_frames_flow_no_caller_is_given_an_older_one_than_there_is(
    monkeypatch: pytest.MonkeyPatch, watched: dict[str, Any], asked: LiveSpec
) -> None:
    """Whatever its caller's own encoding still has from before, or a slow viewer is given."""
    with LiveRig() as rig:
        monkeypatch.setattr("camsvc.live.feed.time.monotonic_ns", rig.monotonic_ns)
        rig.watch(**watched)
        rig.open()
        for _ in range(3):
            rig.flow(1.0)
            newest = rig.watching[0].frames[-1]
            task = rig.begin(rig.camera.get_frame(asked, 60.0, 5))
            rig.frame()
            assert task.result().sequence == newest.sequence + 1


def test_what_all_are_given_is_the_newest_there_is(
    flowing: LiveRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a caller whose wish comes to the same picture."""
    monkeypatch.setattr("camsvc.live.feed.time.monotonic_ns", flowing.monotonic_ns)
    for spec in (LiveSpec(), LiveSpec(max_width_px=1), LiveSpec(max_fps=1.0)):
        task = flowing.begin(flowing.camera.get_frame(spec, 60.0, 5))
        assert task.result() is flowing.watching[0].frames[-1]


@pytest.mark.parametrize(("timeout_s", "waits_s"), [(60.0, 2.0), (1.0, 0.5)])
def test_a_newer_frame_that_does_not_come_is_not_waited_for_to_the_end(
    flowing: LiveRig, monkeypatch: pytest.MonkeyPatch, timeout_s: float, waits_s: float
) -> None:
    monkeypatch.setattr("camsvc.live.feed.time.monotonic_ns", flowing.monotonic_ns)
    asked = LiveSpec(quality_percent=50)
    first = flowing.begin(flowing.camera.get_frame(asked, 60.0, 5))
    flowing.frame()
    flowing.frame()
    begun = flowing.loop.time()
    again = flowing.run(flowing.camera.get_frame(asked, 60.0, timeout_s))
    assert again is first.result()
    assert flowing.loop.time() - begun <= waits_s + 0.6  # and the step of the stall's watchdog


def test_one_frame_is_waited_for_no_longer_than_asked(flowing: LiveRig) -> None:
    before = flowing.loop.time()
    with pytest.raises(CaptureTimeout, match=r"no frame of camera 'cam' came within 0\.7 s"):
        flowing.run(flowing.camera.get_frame(LiveSpec(), None, 0.7))
    assert flowing.loop.time() == pytest.approx(before + 0.7, abs=0.01)
    assert flowing.view.live.viewers == 1


def test_one_frame_of_a_camera_that_faults_meanwhile_is_refused_at_once(flowing: LiveRig) -> None:
    task = flowing.begin(flowing.camera.get_frame(LiveSpec(), None, 60))
    flowing.deliver(m.Lost(m.Failed("DriverFault", "the lens fell off")))
    assert isinstance(task.exception(), CameraFaulted)
