"""Work that comes in pieces takes its share of the time, and no more."""

import asyncio
from unittest import mock

import pytest

from camsvc.system.event_loop import loop_time
from camsvc.worker_pool.time_share import TimeShare
from tests.support.loops import new_virtual_loop

SHARE, SAVED_S = 0.25, 1.0


def take(*pieces_s: float, pause_s: float = 0.0) -> float:
    """Return how long pieces of so much processor time take, with a pause after each."""
    used_s = 0.0

    async def all_of_them() -> float:
        nonlocal used_s
        share = TimeShare(SHARE, SAVED_S)
        for piece_s in pieces_s:
            share.begin()
            used_s += piece_s
            await share.next()
            await asyncio.sleep(pause_s)
        return loop_time()

    loop = new_virtual_loop()
    with mock.patch("time.thread_time", side_effect=lambda: used_s):
        took_s = loop.run_until_complete(all_of_them())
    loop.close()
    return took_s


@pytest.mark.parametrize("piece_s", [0.001, 0.01, 0.5])
def test_what_comes_without_end_takes_its_share(piece_s: float) -> None:
    count = round(2 / piece_s)
    assert take(*[piece_s] * count) == pytest.approx(2 / SHARE - SAVED_S, abs=0.01)


def test_what_takes_less_never_waits() -> None:
    assert take(*[0.001] * 100, pause_s=0.033) == pytest.approx(3.3, abs=0.01)


def test_what_comes_at_once_after_a_pause_does_not_wait() -> None:
    assert take(*[0.01] * 25) == 0
