"""When a frame was taken, from the sensor's clock."""

import time

import pytest

from camsvc.drivers.picamera2.clock import acquired_ns

UNIX_NS = 1_700_000_000_000_000_000
NOW_NS = 5_000_000_000
SUSPENDED_NS = 3_600_000_000_000
AGE_NS = 40_000_000


@pytest.fixture
def suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the machine been suspended for an hour since it was booted."""

    def clock(which: int) -> int:
        assert which == time.CLOCK_BOOTTIME
        return NOW_NS + SUSPENDED_NS

    monkeypatch.setattr(time, "clock_gettime_ns", clock)


def test_a_frame_is_as_old_as_its_time_by_the_monotonic_clock() -> None:
    assert acquired_ns(NOW_NS - AGE_NS, NOW_NS, UNIX_NS) == UNIX_NS - AGE_NS


@pytest.mark.usefixtures("suspended")
def test_a_time_by_the_clock_since_boot_is_told_by_being_ahead() -> None:
    stamp_ns = NOW_NS + SUSPENDED_NS - AGE_NS
    assert acquired_ns(stamp_ns, NOW_NS, UNIX_NS) == UNIX_NS - AGE_NS
    assert acquired_ns(NOW_NS - AGE_NS, NOW_NS, UNIX_NS) == UNIX_NS - AGE_NS


@pytest.mark.usefixtures("suspended")
def test_no_frame_is_of_the_future() -> None:
    assert acquired_ns(NOW_NS + SUSPENDED_NS + 1000, NOW_NS, UNIX_NS) == UNIX_NS
