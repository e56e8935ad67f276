"""What is sent and not taken is bounded, and only those pay for it that take nothing."""

import pytest

from camsvc.grpc_server.untaken import Untaken
from camsvc.model.caller import Caller
from camsvc.model.errors import QueueFull

SLOW, QUICK, SMALL = (Caller("ipv4:10.0.0.1", f"ipv4:10.0.0.1:{port}") for port in (1, 2, 3))
LIMIT = 1000


def test_beyond_the_limit_those_that_hold_much_are_refused_and_no_others() -> None:
    untaken = Untaken(LIMIT)
    for _ in range(10):
        untaken.add(SLOW, 100)
    with pytest.raises(QueueFull, match="use up the service's memory") as refusal:
        untaken.add(SLOW, 1)
    assert refusal.value.retry_after_s
    for _ in range(20):
        untaken.taken(untaken.add(QUICK, 500))


def test_beyond_the_limit_who_lets_little_lie_for_long_is_refused_too() -> None:
    untaken = Untaken(LIMIT, patience_s=-1)
    untaken.add(SMALL, 1)
    untaken.add(SLOW, LIMIT)
    with pytest.raises(QueueFull):
        untaken.add(SMALL, 1)


def test_connections_end_from_the_greediest_on_until_half_is_left() -> None:
    untaken = Untaken(LIMIT, patience_s=-1)
    for caller, size in ((SLOW, 500), (QUICK, 350), (SMALL, 50)):
        untaken.add(caller, size)
    assert list(untaken.stuck()) == [SLOW]
    untaken.keep({QUICK, SMALL})
    assert list(untaken.stuck()) == []


def test_what_is_on_its_way_for_a_short_time_ends_no_connection() -> None:
    untaken = Untaken(LIMIT)
    untaken.add(SLOW, 10 * LIMIT)
    assert list(untaken.stuck()) == []
