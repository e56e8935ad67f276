"""The selection of frames is even: as many as wanted, and never two gaps where one would do."""

import itertools
import math
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from camsvc.model.frame_rate import FrameRateLimiter

FRAMES = 400
NOW_S = 1_700_000_000.0
"""Times are Unix times, whose fractions a float holds less exactly."""


def moments(camera_fps: float, jitter: float = 0.0, seed: int = 0) -> list[float]:
    """When a camera's frames come. `jitter` is how far each strays, in the camera's intervals."""
    stray = random.Random(seed).uniform
    return [NOW_S + (n + stray(-jitter, jitter)) / camera_fps for n in range(FRAMES)]


def taken(times: list[float], max_fps: float | None) -> list[float]:
    pacer = FrameRateLimiter(max_fps)
    return [time for time in times if pacer.takes(time)]


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def test_without_a_rate_every_frame_is_taken() -> None:
    times = moments(30, jitter=0.4)
    assert taken(times, None) == times


@pytest.mark.parametrize("max_fps", [30, 30.5, 31, 60, 1000])
def test_a_camera_that_is_not_faster_than_wanted_loses_no_frame(max_fps: float) -> None:
    times = moments(30)
    assert taken(times, max_fps) == times


@pytest.mark.parametrize(
    ("camera_fps", "max_fps", "intervals"),
    [
        (30, 15, {2}),
        (30, 10, {3}),
        (30, 1, {30}),
        (30, 20, {1, 2}),
        (30, 25, {1, 2}),
        (30, 29, {1, 2}),
        (30, 12, {2, 3}),
        (30, 7, {4, 5}),
        (25, 24, {1, 2}),
        (60, 50, {1, 2}),
        (30.03, 30, {1, 2}),
        (1000, 30, {33, 34}),
        (5, 0.1, {50}),
    ],
)
def test_gaps_are_of_the_two_nearest_lengths(
    camera_fps: float, max_fps: float, intervals: set[int]
) -> None:
    """20 of 30 come as 1, 2, 1, 2; never as 2, 2, 2, which is 15."""
    chosen = taken(moments(camera_fps), max_fps)
    assert {round(gap * camera_fps) for gap in gaps(chosen)} <= intervals
    assert len(chosen) == pytest.approx(FRAMES * max_fps / camera_fps, abs=1.5)


@pytest.mark.parametrize(("camera_fps", "max_fps"), [(30, 20), (30, 25), (30, 29), (60, 50)])
def test_no_stretch_of_time_is_favoured(camera_fps: float, max_fps: float) -> None:
    """Beating would show as stretches with more frames and such with fewer."""
    chosen = taken(moments(camera_fps, jitter=0.1), max_fps)
    for begin in range(0, int(FRAMES / camera_fps) - 1):
        within = [t for t in chosen if begin <= t - NOW_S < begin + 1]
        assert len(within) == pytest.approx(max_fps, abs=1.5), f"in second {begin}"


@given(
    camera_fps=st.floats(1, 1000),
    ratio=st.floats(0.05, 20) | st.floats(0.9, 2.1),
    jitter=st.floats(0, 0.2),
    seed=st.integers(0, 10_000),
)
@example(camera_fps=30, ratio=1.0, jitter=0.2, seed=1)
@example(camera_fps=30, ratio=30 / 29, jitter=0.2, seed=1)
@settings(max_examples=300, deadline=None)
def test_whatever_the_camera_and_the_viewer_frames_are_as_many_as_wanted_and_even(
    camera_fps: float, ratio: float, jitter: float, seed: int
) -> None:
    max_fps = camera_fps / ratio
    times = moments(camera_fps, jitter, seed)
    chosen = taken(times, max_fps)
    seconds = FRAMES / camera_fps
    assert len(chosen) <= max_fps * seconds + 1.5, "never more than the viewer asked for"
    assert len(chosen) >= 0.98 * min(camera_fps, max_fps) * seconds - 1.5
    # A frame can be due just after the camera's last one: one interval more, and the strays.
    longest_s = max(1 / max_fps, 1 / camera_fps) + (1.05 + 2 * jitter) / camera_fps
    assert max(gaps(chosen), default=0.0) <= longest_s


@pytest.mark.parametrize("max_fps", [20.0, 29.0])
def test_after_a_pause_frames_are_taken_at_once_and_not_made_up_for(max_fps: float) -> None:
    before = moments(30)
    after = [time + 60 for time in before]
    pacer = FrameRateLimiter(max_fps)
    assert [time for time in before if pacer.takes(time)]
    resumed = [time for time in after if pacer.takes(time)]
    assert resumed[0] == after[0]
    first_second = [time for time in resumed if time < after[0] + 1]
    assert len(first_second) <= math.ceil(max_fps) + 1


def test_a_clock_that_is_set_back_does_not_stop_the_frames() -> None:
    pacer = FrameRateLimiter(10)
    assert len([time for time in moments(30) if pacer.takes(time)]) == pytest.approx(134, abs=2)
    back = [time - 3600 for time in moments(30)]
    resumed = [time for time in back if pacer.takes(time)]
    assert len(resumed) == pytest.approx(FRAMES / 3, abs=2)
    assert resumed[0] - back[0] < 0.2
