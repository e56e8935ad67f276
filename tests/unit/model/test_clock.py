"""A driver's times, by a wall clock that may be set meanwhile, on both clocks."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camsvc.model import clock
from camsvc.model.clock import Moment
from camsvc.model.errors import DriverError

S_NS = 10**9
YEAR_S = 365.25 * 86_400
STEPS_S = st.just(0.0) | st.floats(-10 * YEAR_S, 10 * YEAR_S).filter(lambda s: abs(s) > 0.01)
BY_WHICH = st.sampled_from(["before", "after"])


def asked(seconds_ago: float, set_since_s: float = 0.0) -> Moment:
    """Return the moment of a call to a driver, since which the wall clock was set."""
    now, ago_ns = clock.now(), int(seconds_ago * 1e9)
    wall_ns = now.wall_ns - ago_ns - int(set_since_s * 1e9)
    return Moment(wall_ns, now.monotonic_ns - ago_ns)


def test_a_moment_is_the_same_by_both_clocks() -> None:
    before = time.time_ns(), time.monotonic_ns()
    now = clock.now()
    assert before[0] <= now.wall_ns <= time.time_ns()
    assert before[1] <= now.monotonic_ns <= time.monotonic_ns()


@given(took_s=st.floats(0.02, 30), after=st.floats(0, 1), step_s=STEPS_S, read=BY_WHICH)
def test_whenever_the_clock_is_set_a_frame_is_neither_old_nor_of_the_future(
    took_s: float, after: float, step_s: float, read: str
) -> None:
    """It was taken between the call and now, and its label is by the clock as it is now."""
    call = asked(took_s, step_s)
    stamp_ns = call.wall_ns + int(after * took_s * 1e9)
    if read == "after":
        stamp_ns += int(step_s * 1e9)
    taken, now = clock.acquired(stamp_ns, call), clock.now()
    assert call.monotonic_ns - 5_000_000 <= taken.monotonic_ns <= now.monotonic_ns
    assert taken.wall_ns <= now.wall_ns
    assert abs(now.offset_ns - taken.offset_ns) < 10_000_000
    if not step_s:
        assert taken.wall_ns == stamp_ns


@given(age_s=st.floats(0.0, 3599.0))
def test_an_old_frame_stays_old(age_s: float) -> None:
    """To the nanosecond: a still's may be just older than the request for it."""
    call = asked(0.5)
    taken = clock.acquired(call.wall_ns - int(age_s * 1e9), call)
    assert taken.monotonic_ns <= call.monotonic_ns + 1_000_000
    assert taken.wall_ns == call.wall_ns - int(age_s * 1e9)


@pytest.mark.parametrize("off_s", [1.5, 3600, 7.0e9, 2.5e11, -3601, -1.7e9, -2.5e11])
def test_a_time_that_cannot_be_is_refused_by_its_name(off_s: float) -> None:
    stamp_ns = time.time_ns() + int(off_s * 1e9)
    with pytest.raises(DriverError, match=r"allowed: from 3600 s before now to 1 s ahead") as told:
        clock.acquired(stamp_ns, asked(0.1))
    assert f"{stamp_ns}, " in str(told.value)
    assert ("ahead of now" in str(told.value)) == (off_s > 0)


@pytest.mark.parametrize("wrong", [10**30, -(10**30), 10**5000], ids=["more", "less", "most"])
def test_a_number_that_no_clock_has_is_not_written_out(wrong: int) -> None:
    with pytest.raises(DriverError, match="frame is a very large number, ") as told:
        clock.acquired(wrong, asked(0.1))
    assert len(str(told.value)) < 200


def test_a_time_that_is_a_little_ahead_is_now() -> None:
    taken, now = clock.acquired(time.time_ns() + S_NS // 2, asked(0.1)), clock.now()
    assert taken.wall_ns <= now.wall_ns
    assert taken.monotonic_ns <= now.monotonic_ns


@pytest.mark.parametrize("wrong", [1.7e9, float("nan"), "now", None, True])
def test_a_time_that_is_no_whole_number_is_refused(wrong: Any) -> None:
    with pytest.raises(DriverError, match="allowed: a whole number, in nanoseconds since 1970"):
        clock.acquired(wrong, asked(0.1))


def test_an_integer_of_numpy_is_one() -> None:
    stamp_ns = time.time_ns()
    taken = clock.acquired(np.int64(stamp_ns), asked(0.1))  # type: ignore[arg-type]
    assert (type(taken.wall_ns), taken.wall_ns) == (int, stamp_ns)
