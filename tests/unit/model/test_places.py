"""Places are one caller's until others want some, and shared evenly then."""

import asyncio
import contextlib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camsvc.model.caller import Caller, gives_way
from camsvc.model.errors import QueueFull
from camsvc.model.places import Places

ONE, TWO, THREE = (Caller("", name) for name in "123")
LIMIT = 4


@given(st.lists(st.sampled_from([ONE, TWO, THREE]), max_size=20), st.sampled_from([ONE, TWO]))
def test_nobody_gives_up_a_place_to_who_would_then_have_more(
    holders: list[Caller], newcomer: Caller
) -> None:
    counts = Counter(holders)
    place = gives_way(dict(enumerate(holders)), newcomer)
    if place is not None:
        caller = holders[place]
        assert caller not in holders[place + 1 :], "the newest"
        assert counts[caller] == max(counts.values())
        assert counts[caller] - 1 >= counts[newcomer] + 1
    else:
        assert all(count <= counts[newcomer] + 1 for count in counts.values())


class Holding:
    """Tasks that each hold a place until they end."""

    def __init__(self) -> None:
        self.places = Places(LIMIT, "things are under way", "max_things")
        self.tasks: list[tuple[Caller, asyncio.Task[None]]] = []

    async def begin(self, caller: Caller) -> None:
        self.tasks.append((caller, asyncio.create_task(self._hold(caller))))
        for _ in range(5):
            await asyncio.sleep(0)

    async def _hold(self, caller: Caller) -> None:
        async with self.places.place(caller):
            await asyncio.Event().wait()

    def holders(self) -> Counter[Caller]:
        return Counter(caller for caller, task in self.tasks if not task.done())

    async def end(self) -> None:
        for _, task in self.tasks:
            task.cancel()
        await asyncio.gather(*(task for _, task in self.tasks), return_exceptions=True)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([ONE, TWO, THREE]), max_size=20))
def test_there_are_never_more_and_each_can_have_its_share(callers: list[Caller]) -> None:
    async def take() -> None:
        holding = Holding()
        try:
            for caller in callers:
                await holding.begin(caller)
                held = holding.holders()
                assert held.total() <= LIMIT
                wanted = Counter(callers[: len(holding.tasks)])
                for each in wanted:
                    assert held[each] >= min(wanted[each], LIMIT // len(wanted))
            ended = [task.exception() for _, task in holding.tasks if task.done()]
            assert all(isinstance(error, QueueFull) for error in ended)
        finally:
            await holding.end()

    asyncio.run(take())


async def test_the_newest_of_the_greediest_is_told_why_it_ends() -> None:
    holding = Holding()
    for _ in range(LIMIT):
        await holding.begin(ONE)
    await holding.begin(TWO)
    error = holding.tasks[LIMIT - 1][1].exception()
    assert isinstance(error, QueueFull)
    assert "4 things are under way, which is the service's max_things" in error.message
    assert error.metadata == {"limit": "4"}
    assert error.retry_after_s
    await holding.end()


async def test_a_time_out_of_the_bodys_own_stays_one() -> None:
    places = Places(1, "things are under way", "max_things")
    with pytest.raises(TimeoutError):
        async with places.place(ONE), asyncio.timeout(0):
            await asyncio.Event().wait()
    with contextlib.suppress(QueueFull):
        async with places.place(TWO):
            return
    raise AssertionError("the place is not free")
