"""What is sent and not taken is bounded, and only those pay for it that take nothing."""

import asyncio
import contextlib

import pytest

from camsvc.grpc_server.untaken import Sending, Untaken
from camsvc.model.caller import Caller
from camsvc.model.errors import QueueFull

SLOW, QUICK, SMALL = (Caller("ipv4:10.0.0.1", f"ipv4:10.0.0.1:{port}") for port in (1, 2, 3))
LIMIT = 1000


def add(untaken: Untaken, caller: Caller, size_bytes: int) -> Sending:
    """Send a message that the service has to give up, as nobody takes it."""
    with contextlib.suppress(QueueFull), untaken.sending(caller) as sending:
        untaken.add(sending, size_bytes)
        raise QueueFull("the client takes nothing")
    return sending


def refused(untaken: Untaken, caller: Caller) -> None:
    with untaken.sending(caller) as sending:
        untaken.add(sending, 1)


@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyError])
def test_what_a_client_has_left_behind_does_not_count(error: type[BaseException]) -> None:
    untaken = Untaken(LIMIT, patience_s=-1)
    for _ in range(10):
        with pytest.raises(error), untaken.sending(SLOW) as sending:
            untaken.add(sending, LIMIT)
            raise error
    assert list(untaken.stuck()) == []


def test_beyond_the_limit_those_that_hold_much_are_refused_and_no_others() -> None:
    untaken = Untaken(LIMIT)
    for _ in range(10):
        add(untaken, SLOW, 100)
    with pytest.raises(QueueFull, match="use up the service's memory") as refusal:
        refused(untaken, SLOW)
    assert refusal.value.retry_after_s
    for _ in range(20):
        with untaken.sending(QUICK) as sending:
            untaken.add(sending, 500)
            untaken.taken(sending)


def test_beyond_the_limit_who_lets_little_lie_for_long_is_refused_too() -> None:
    untaken = Untaken(LIMIT, patience_s=-1)
    add(untaken, SMALL, 1)
    add(untaken, SLOW, LIMIT)
    with pytest.raises(QueueFull):
        refused(untaken, SMALL)


def test_connections_end_from_the_greediest_on_until_half_is_left() -> None:
    untaken = Untaken(LIMIT, patience_s=-1)
    for caller, size in ((SLOW, 500), (QUICK, 350), (SMALL, 50)):
        add(untaken, caller, size)
    assert list(untaken.stuck()) == [SLOW]
    untaken.keep({QUICK, SMALL})
    assert list(untaken.stuck()) == []


def test_what_is_on_its_way_for_a_short_time_ends_no_connection() -> None:
    untaken = Untaken(LIMIT)
    add(untaken, SLOW, 10 * LIMIT)
    assert list(untaken.stuck()) == []
