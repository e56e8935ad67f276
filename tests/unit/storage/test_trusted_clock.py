"""A clock that is wrong for less than an hour deletes nothing, whatever else happens meanwhile."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from camsvc.config.settings import RetentionSettings
from camsvc.model.clock import Moment
from camsvc.model.records import Filter
from camsvc.storage.archive import Archive
from camsvc.storage.retention import Retention
from camsvc.storage.trusted_clock import TrustedClock
from tests.support.keeping import CREATED_NS, Folder, capture, keep

MINUTE_S, HOUR_S, DAY_S, YEAR_S = 60, 3600, 86_400, 365 * 86_400
SETTLE_S = float(HOUR_S)
START_NS = CREATED_NS + 50 * YEAR_S * 10**9
"""Events have the machine's own time, and so seem old from the start."""
KEPT_DAYS = 30
LIMITS = RetentionSettings(max_age_days=KEPT_DAYS, min_age_s=0.0)


class Clocks:
    """The true time, and a wall clock that may be wrong by `ahead_s`."""

    def __init__(self) -> None:
        self.s = 0
        self.ahead_s = 0

    def now(self) -> Moment:
        ns = self.s * 10**9
        return Moment(START_NS + ns + self.ahead_s * 10**9, 10**9 + ns)


def seconds(clock: TrustedClock) -> float:
    return (clock.now().wall_ns - START_NS) / 1e9


def test_a_jump_is_believed_once_it_has_lasted() -> None:
    clocks = Clocks()
    clock = TrustedClock(0, settle_s=SETTLE_S, now=clocks.now)
    for ahead_s in (12 * YEAR_S, -10 * YEAR_S, 1, 0, -HOUR_S):
        before_s, clocks.ahead_s = clocks.ahead_s, ahead_s
        for _ in range(59):
            assert abs(seconds(clock) - clocks.s - before_s) <= 0.5
            clocks.s += MINUTE_S
        assert abs(seconds(clock) - clocks.s - before_s) <= 0.5
        clocks.s += MINUTE_S
        assert seconds(clock) == clocks.s + ahead_s


def test_a_jump_and_its_end_are_logged_once_each() -> None:
    clocks = Clocks()
    clock = TrustedClock(0, settle_s=SETTLE_S, now=clocks.now)
    with capture_logs() as logs:
        for ahead_s in (YEAR_S, 0):
            clocks.ahead_s = ahead_s
            for _ in range(10):
                clocks.s += 1
                clock.now()
    assert [log["by_s"] for log in logs] == [YEAR_S, -YEAR_S]
    assert seconds(clock) == clocks.s, "nothing had been believed"


def test_a_clock_that_is_adjusted_bit_by_bit_is_followed() -> None:
    clocks = Clocks()
    clock = TrustedClock(0, settle_s=SETTLE_S, now=lambda: slewed(clocks))
    with capture_logs() as logs:
        for _ in range(200):
            clocks.s += 1
            assert abs(clock.now().wall_ns - slewed(clocks).wall_ns) == 0
    assert not logs


def slewed(clocks: Clocks) -> Moment:
    now = clocks.now()
    return Moment(now.wall_ns + clocks.s * 10**8, now.monotonic_ns)


def test_a_start_goes_on_from_what_is_known() -> None:
    clocks = Clocks()
    clocks.ahead_s = 12 * YEAR_S
    clock = TrustedClock(START_NS, settle_s=SETTLE_S, now=clocks.now)
    clocks.s += MINUTE_S
    assert seconds(clock) == MINUTE_S
    clocks.ahead_s = 0
    assert seconds(clock) == MINUTE_S


def test_what_is_certain_has_lasted_and_the_system_says_so() -> None:
    clocks, said = Clocks(), [True, False, True]
    clock = TrustedClock(0, now=clocks.now, is_synchronized=lambda: said.pop(0))
    assert not clock.certain, "it has only begun"
    clocks.s += HOUR_S
    clock.now()
    assert [clock.certain for _ in range(3)] == [True, False, True]


# What is kept.

STILL, RESTART = ("still", 0), ("restart", 0)


def on(*seconds: int) -> st.SearchStrategy[tuple[str, int]]:
    return st.tuples(st.just("on"), st.sampled_from(seconds))


RIGHT = st.lists(
    st.sampled_from([STILL, RESTART])
    | on(MINUTE_S, HOUR_S, DAY_S, 7 * DAY_S, 40 * DAY_S)
    | st.tuples(st.just("off"), st.sampled_from([MINUTE_S, DAY_S, 40 * DAY_S])),
    max_size=6,
)
BRIEFLY = st.lists(
    st.sampled_from([STILL, RESTART]) | on(1, MINUTE_S, 10 * MINUTE_S),
    max_size=5,
)
AHEAD_S = st.sampled_from(
    [1, -1, HOUR_S, -HOUR_S, DAY_S, -40 * DAY_S, 40 * DAY_S, 12 * YEAR_S, -10 * YEAR_S]
)
Deeds = list[tuple[str, int]]


class Past:
    """A service with its pictures, over its starts."""

    def __init__(self, folder: Path, *, synchronized: bool) -> None:
        self._folder = Folder(folder)
        self._clocks = Clocks()
        self._synchronized = synchronized
        """Whether a network sets the clock, where it is right."""
        self._taken: dict[str, tuple[int, int, bool]] = {}
        """When each picture was, by the true time, its event, and whether its label is right."""

    async def live(self, times: Sequence[tuple[int, Deeds]]) -> None:
        await self.start()
        for ahead_s, deeds in times:
            self._clocks.ahead_s = ahead_s
            await self._check()
            for deed, lasts_s in deeds:
                await self.do(deed, lasts_s)
        self._clocks.ahead_s = 0
        await self._check()
        for _ in range(3):
            await self.do("on", 2 * KEPT_DAYS * DAY_S)
        left = await self.left()
        assert not [id_ for id_, (*_, right) in self._taken.items() if right and id_ in left]
        await self.close()

    async def start(self) -> None:
        self._archive = await Archive.open(self._folder.path)
        clock = TrustedClock(
            self._archive.known_ages.time_ns,
            settle_s=SETTLE_S,
            now=self._clocks.now,
            is_synchronized=lambda: self._synchronized and not self._clocks.ahead_s,
        )
        self._retention = Retention(self._archive, LIMITS, clock)

    async def do(self, deed: str, lasts_s: int) -> None:
        if deed == "still":
            id_ = str(len(self._taken))
            await keep(self._archive, capture(id_, created_ns=self._clocks.now().wall_ns))
            event = self._archive.events.last_sequence
            self._taken[id_] = self._clocks.s, event, not self._clocks.ahead_s
        elif deed == "on":
            self._clocks.s += lasts_s
        else:
            await self._archive.close()
            self._clocks.s += lasts_s
            await self.start()
        await self._check()

    async def _check(self) -> None:
        await self._retention.enforce()
        left, oldest = await self.left(), self._clocks.s - KEPT_DAYS * DAY_S
        young = {id_: event for id_, (at, event, _) in self._taken.items() if at > oldest}
        assert left >= young.keys(), f"deleted too early: {young} of {self._taken}"
        ((first_event,),) = self._folder.rows("SELECT min(sequence) FROM events")
        assert all(first_event <= event for event in young.values()), "and so are its events"

    async def close(self) -> None:
        await self._archive.close()

    async def left(self) -> set[str]:
        found, _ = await self._archive.page(Filter(), before=None, limit=1000)
        return {record.capture_id for _, record in found}


@given(times=st.lists(st.tuples(AHEAD_S, RIGHT, RIGHT), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_no_picture_goes_before_its_time_and_each_goes_after_it(
    times: list[tuple[int, Deeds, Deeds]],
) -> None:
    """However long the clock is wrong, from the first start on, with stills and restarts meanwhile.

    No network sets it; a picture whose label is wrong may stay for longer.
    """
    live_through(times, synchronized=False)


@given(times=st.lists(st.tuples(AHEAD_S, BRIEFLY, RIGHT), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_so_it_is_where_a_network_sets_the_clock_and_it_is_wrong_for_less_than_an_hour(
    times: list[tuple[int, Deeds, Deeds]],
) -> None:
    live_through(times, synchronized=True)


def live_through(times: list[tuple[int, Deeds, Deeds]], *, synchronized: bool) -> None:
    """Live while the clock is wrong, and then while it is right, again and again."""
    alternating = [
        each for ahead_s, wrong, right in times for each in ((ahead_s, wrong), (0, right))
    ]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(Past(Path(folder), synchronized=synchronized).live(alternating))


@pytest.mark.parametrize("synchronized", [False, True])
async def test_time_that_a_machine_is_off_counts_where_its_clock_is_certain(
    tmp_path: Path, synchronized: bool
) -> None:
    past = Past(tmp_path, synchronized=synchronized)
    await past.start()
    for deed in (("on", HOUR_S), STILL, ("off", 20 * DAY_S), ("on", 11 * DAY_S)):
        await past.do(*deed)
    assert bool(await past.left()) is not synchronized
    await past.close()
