"""What is told of a capture while it is under way. In virtual time."""

from collections.abc import Iterator

import pytest

from camsvc.camera.capture import Order
from camsvc.model.errors import CameraServiceError, CameraUnavailable
from camsvc.model.records import EventRecord, EventType
from camsvc.model.values import Shot
from tests.support.fakeworkers import COMMAND_S, OPTIONS, WELL, Rig

ORDER = Order(Shot(), "a", {"point": "1"})
EXPECTED_S = 5.0
T = EventType


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    rig.expected_s = EXPECTED_S
    rig.wait(1)
    yield rig
    rig.close()


def events(rig: Rig) -> list[EventRecord]:
    """Take a still; return what was told of it."""
    try:
        rig.run(rig.camera.capture(ORDER))
    except CameraServiceError:
        rig.wait(1)
    return [event for event in rig.archive.events if event.capture_id]


def percents(told: list[EventRecord]) -> list[int]:
    return [event.progress_percent for event in told if event.progress_percent is not None]


def test_a_still_is_started_and_succeeds(rig: Rig) -> None:
    told = events(rig)
    assert [event.type for event in told] == [T.STARTED, T.SUCCEEDED]
    record = told[-1].capture
    assert record is not None
    assert (record.request_id, record.labels, record.attempts) == ("a", {"point": "1"}, 1)
    assert record.driver_s == COMMAND_S
    assert record.queue_s == 0
    assert record.total_s == pytest.approx(2 * COMMAND_S), "of the opening, too"


def test_progress_is_told_by_time_twice_a_second_and_never_reaches_the_end(rig: Rig) -> None:
    rig.script = [WELL, "slow"]
    told = events(rig)
    assert percents(told) == pytest.approx([10, 20, 30, 40, 50, 60, 70, 80, 90, 99], abs=1)
    assert percents(told)[-1] == 99
    assert told[-1].type is T.SUCCEEDED


def test_progress_by_time_knows_of_a_longer_exposure(rig: Rig) -> None:
    rig.script = [WELL, "slow"]
    order = Order(Shot(controls={"exposure_duration_us": 5_000_000}))
    rig.run(rig.camera.capture(order))
    assert percents(rig.archive.events) == pytest.approx(list(range(5, 75, 5)), abs=1)


def test_what_the_driver_tells_takes_the_place_of_time(rig: Rig) -> None:
    rig.reports = [(0.6, 40), (1.0, 50), (0.2, 55), (0.1, 60), (0.5, 70), (0.1, 100)]
    told = percents(events(rig))
    assert told == [10, 50, 70, 100], "by time until it speaks; each half a second after the last"


def test_progress_never_goes_back(rig: Rig) -> None:
    rig.reports = [(2.6, 5), (1.0, 30), (1.0, 60)]
    assert percents(events(rig)) == pytest.approx([10, 20, 30, 40, 50, 60], abs=1)


def test_a_still_that_is_quick_has_no_progress(rig: Rig) -> None:
    rig.reports = [(0.1, 50)]
    assert not percents(events(rig))


def test_the_next_attempt_begins_its_progress_anew(rig: Rig) -> None:
    rig.reports = [(0.4, 30), (0.4, 80)]
    rig.script = [WELL, "error"]
    told = events(rig)
    assert [event.type for event in told] == [
        T.STARTED,
        T.PROGRESS,
        T.RECOVERING,
        T.RETRYING,
        T.PROGRESS,
        T.SUCCEEDED,
    ]
    assert percents(told) == [80, 80]
    assert [event.attempt for event in told[:-1]] == [1, 1, 1, 2, 2]


def test_each_failed_attempt_says_why_and_so_does_the_next_one(rig: Rig) -> None:
    rig.script = [WELL, "error"]
    told = {event.type: event for event in events(rig)}
    for kind in (T.RECOVERING, T.RETRYING):
        failure = told[kind].failure
        assert failure is not None
        assert failure.reason == "CAMERA_UNAVAILABLE"
        assert "failed in attempt 1: scripted" in failure.message


def test_one_that_fails_says_so_once_with_the_error_that_its_client_got(rig: Rig) -> None:
    recovered, reopened = [WELL], [WELL, WELL]
    rig.script = [WELL, "error", *recovered, "error", *reopened, "error"]
    with pytest.raises(CameraUnavailable) as got:
        rig.run(rig.camera.capture(ORDER))
    ends = [e for e in rig.archive.events if e.capture is not None]
    (end,) = ends
    assert end.type is T.FAILED
    assert end.capture is not None
    failure = end.capture.failure
    assert failure is not None
    error = failure.error()
    assert (error.message, error.metadata) == (got.value.message, got.value.metadata)
    assert error.metadata["capture_id"] == end.capture_id
    assert end.capture.attempts == OPTIONS.attempts


def test_a_camera_that_stays_away_is_told_of_once_and_so_is_its_return(rig: Rig) -> None:
    rig.script = ["error"] * 8
    rig.loop.call_soon(rig.camera.open)
    rig.wait(120)
    told = [event.type for event in rig.archive.events]
    assert told == [T.CAMERA_UNAVAILABLE, T.CAMERA_AVAILABLE]
