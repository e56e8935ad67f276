"""Connections that nobody uses end where there are many; real ones, of this process."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from camsvc.grpc_server.connections import Connections
from camsvc.grpc_server.untaken import Untaken
from camsvc.model.caller import Caller
from camsvc.model.errors import QueueFull

MOST = 8


class Pairs:
    """A listening socket, and connections to it, both ends of which are this process's."""

    def __init__(self, host: str) -> None:
        self._listening = socket.create_server((host, 0), family=_family(host))
        self.port = self._listening.getsockname()[1]
        self.ends: list[tuple[socket.socket, socket.socket]] = []

    def connect(self) -> Caller:
        there = socket.create_connection(self._listening.getsockname()[:2])
        here, (host, port, *_) = self._listening.accept()
        self.ends.append((here, there))
        name = f"ipv6:%5B{host}%5D" if ":" in host else f"ipv4:{host}"
        return Caller(name, f"{name}:{port}")

    def ended(self) -> list[bool]:
        for _, there in self.ends:
            there.setblocking(False)
        return [_is_ended(there) for _, there in self.ends]

    def close(self) -> None:
        for each in (self._listening, *(end for ends in self.ends for end in ends)):
            each.close()


def fill(untaken: Untaken, caller: Caller) -> None:
    """Leave more on its way to a caller than there may be."""
    with contextlib.suppress(QueueFull), untaken.sending(caller) as sending:
        untaken.add(sending, 10_000)
        raise QueueFull("the client takes nothing")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _is_ended(there: socket.socket) -> bool:
    try:
        return there.recv(1) == b""
    except BlockingIOError:
        return False


@pytest.fixture(params=["127.0.0.1", "::1"])
def pairs(request: pytest.FixtureRequest) -> Iterator[Pairs]:
    pairs = Pairs(request.param)
    yield pairs
    pairs.close()


def test_among_many_those_without_any_call_end_at_the_second_look(pairs: Pairs) -> None:
    connections = Connections(MOST, Untaken())
    used, *_ = [pairs.connect() for _ in range(MOST // 2 + 1)]
    connections.use(used)
    connections.look(pairs.port)
    assert not any(pairs.ended())
    connections.look(pairs.port)
    assert pairs.ended() == [False, *[True] * (MOST // 2)]


def test_among_few_nobody_ends(pairs: Pairs) -> None:
    connections = Connections(MOST, Untaken())
    for _ in range(MOST // 2):
        pairs.connect()
    for _ in range(3):
        connections.look(pairs.port)
    assert not any(pairs.ended())


def test_who_takes_nothing_ends_and_is_counted_no_more(pairs: Pairs) -> None:
    untaken = Untaken(1000, patience_s=-1)
    connections = Connections(MOST, untaken)
    callers = [pairs.connect() for _ in range(2)]
    fill(untaken, callers[0])
    connections.look(pairs.port)
    assert pairs.ended() == [True, False]
    for end in pairs.ends.pop(0):
        end.close()
    connections.look(pairs.port)
    assert list(untaken.stuck()) == []


def test_one_address_uses_half_of_them_at_most(pairs: Pairs) -> None:
    connections = Connections(MOST, Untaken())
    callers = [pairs.connect() for _ in range(MOST // 2 + 1)]
    for caller in callers[:-1]:
        connections.use(caller)
        connections.use(caller)
    with pytest.raises(QueueFull, match="4 connections from your address"):
        connections.use(callers[-1])
    connections.use(Caller("ipv4:10.9.9.9", "ipv4:10.9.9.9:1"))
    for end in pairs.ends.pop(0):
        end.close()
    connections.look(pairs.port)
    connections.use(callers[-1])
