"""However much is refused, all of it is counted, and few events say so. In virtual time."""

from collections.abc import Iterator

import pytest

from camsvc.camera.capture import Order
from camsvc.camera.refusals import INTERVAL_S
from camsvc.model.errors import StorageFull, Unsupported
from camsvc.model.records import EventType
from camsvc.model.values import Shot
from tests.support.fakeworkers import WELL, Rig

MANY = 500
BOUND_S = 10.0


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


def refuse(rig: Rig, name: str = "") -> None:
    """Have a request refused, as there is no room for its picture."""
    rig.archive.full = True
    with pytest.raises(StorageFull):
        rig.run(rig.camera.capture(Order(Shot(), name)))
    rig.archive.full = False


def kept(rig: Rig) -> list[tuple[str, int | None]]:
    """Return the request id and the count of each refusal's event."""
    events = [event for event in rig.archive.events if event.type is EventType.REJECTED]
    return [(event.request_id, event.refused_count) for event in events]


def test_the_first_is_an_event_at_once_and_the_others_are_one_later(rig: Rig) -> None:
    for number in range(MANY):
        refuse(rig, f"request {number}")
    assert kept(rig) == [("request 0", 1)]
    rig.wait(INTERVAL_S)
    assert kept(rig)[1:] == [(f"request {MANY - 1}", MANY - 1)], "as the last was"
    refuse(rig, "again")
    rig.wait(INTERVAL_S)
    assert kept(rig)[2:] == [("again", 1)]
    rig.wait(2 * INTERVAL_S)
    assert len(kept(rig)) == 3
    refuse(rig, "later")
    assert kept(rig)[3:] == [("later", 1)]
    assert rig.view.captures.refused == {StorageFull.reason: MANY + 2}
    assert rig.view.captures.captures_rejected == MANY + 2


def test_each_reason_is_an_event_of_its_own(rig: Rig) -> None:
    refuse(rig, "full")
    opened(rig)
    unsupported(rig)
    assert kept(rig) == [("full", 1), ("no", 1)]
    assert rig.view.captures.refused == {StorageFull.reason: 1, Unsupported.reason: 1}


def test_what_is_not_told_yet_is_told_when_the_camera_is_closed(rig: Rig) -> None:
    for number in range(MANY):
        refuse(rig, f"request {number}")
    rig.run(rig.camera.close())
    assert [count for _, count in kept(rig)] == [1, MANY - 1]
    rig.wait(2 * INTERVAL_S)
    assert len(kept(rig)) == 2


def test_what_was_said_to_wait_ends_with_an_event_whatever_was_refused(rig: Rig) -> None:
    """Its story has an end; one that nobody has heard of is counted only."""
    opened(rig)
    for _ in range(3):
        unsupported(rig)
    assert kept(rig) == [("no", 1)]
    rig.script = [WELL, "refuse"]
    rig.begin(rig.camera.capture(Order(Shot())), BOUND_S)
    waiting = rig.begin(rig.camera.capture(Order(Shot(), "waits", wait=True)), BOUND_S)
    rig.wait(BOUND_S)
    assert isinstance(waiting.task.exception(), Unsupported)
    assert kept(rig)[1:] == [("waits", 1)]
    (queued,) = [event for event in rig.archive.events if event.type is EventType.QUEUED]
    of_it = [event.type for event in rig.archive.events if event.capture_id == queued.capture_id]
    assert of_it == [EventType.QUEUED, EventType.REJECTED]
    assert rig.view.captures.refused[Unsupported.reason] == 4
    rig.wait(INTERVAL_S)
    assert kept(rig)[2:] == [("no", 2)]


def opened(rig: Rig) -> None:
    rig.run(rig.camera.capture(Order(Shot())))


def unsupported(rig: Rig) -> None:
    """Have the camera refuse a request in its turn, which is at once."""
    rig.script = ["refuse"]
    with pytest.raises(Unsupported):
        rig.run(rig.camera.capture(Order(Shot(), "no")))
