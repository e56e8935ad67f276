"""A clock that is wrong for less than an hour deletes nothing, whatever else happens meanwhile."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from camsvc.config.settings import RetentionSettings
from camsvc.model.clock import Moment
from camsvc.model.records import Filter
from camsvc.storage.archive import Archive
from camsvc.storage.retention import Retention
from camsvc.storage.trusted_clock import TrustedClock
from tests.support.keeping import CREATED_NS, capture, keep

MINUTE_S, HOUR_S, DAY_S, YEAR_S = 60, 3600, 86_400, 365 * 86_400
SETTLE_S = float(HOUR_S)
KEPT_DAYS = 30
LIMITS = RetentionSettings(max_age_days=KEPT_DAYS, min_age_s=0.0)


class Clocks:
    """The true time, and a wall clock that may be wrong by `ahead_s`."""

    def __init__(self) -> None:
        self.s = 0
        self.ahead_s = 0

    def now(self) -> Moment:
        ns = self.s * 10**9
        return Moment(CREATED_NS + ns + self.ahead_s * 10**9, 10**9 + ns)


def seconds(clock: TrustedClock) -> float:
    return (clock.now().wall_ns - CREATED_NS) / 1e9


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
    clock = TrustedClock(CREATED_NS, settle_s=SETTLE_S, now=clocks.now)
    clocks.s += MINUTE_S
    assert seconds(clock) == MINUTE_S
    clocks.ahead_s = 0
    assert seconds(clock) == MINUTE_S


# What is kept.

STILL, RESTART = ("still", 0), ("restart", 0)
RIGHT = st.lists(
    st.sampled_from([STILL, RESTART])
    | st.tuples(st.just("on"), st.sampled_from([HOUR_S, DAY_S, 7 * DAY_S, 40 * DAY_S]))
    | st.tuples(st.just("off"), st.sampled_from([MINUTE_S, DAY_S, 40 * DAY_S])),
    max_size=6,
)
WRONG = st.lists(
    st.sampled_from([STILL, RESTART]) | st.tuples(st.just("on"), st.integers(1, 10 * MINUTE_S)),
    max_size=5,
)
AHEAD_S = st.sampled_from(
    [1, -1, HOUR_S, -HOUR_S, DAY_S, -40 * DAY_S, 40 * DAY_S, 12 * YEAR_S, -10 * YEAR_S]
)


class Past:
    """A service with its pictures, over its starts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clocks = Clocks()
        self._taken: dict[str, tuple[int, bool]] = {}
        """When each picture was, by the true time, and whether its label is right."""

    async def live(self, times: Sequence[tuple[int, Sequence[tuple[str, int]]]]) -> None:
        await self._start()
        for ahead_s, deeds in times:
            self._clocks.ahead_s = ahead_s
            await self._check()
            for deed, lasts_s in deeds:
                await self._do(deed, lasts_s)
                await self._check()
        self._clocks.ahead_s = 0
        await self._check()
        for _ in range(3):
            await self._do("on", 2 * KEPT_DAYS * DAY_S)
            await self._check()
        left = await self._left()
        assert not [id_ for id_, (_, right) in self._taken.items() if right and id_ in left]
        await self._archive.close()

    async def _start(self) -> None:
        self._archive = await Archive.open(self._folder)
        floors = self._archive.age_floors
        known_ns = floors[-1][1] if floors else 0
        clock = TrustedClock(known_ns, settle_s=SETTLE_S, now=self._clocks.now)
        self._retention = Retention(self._archive, LIMITS, clock)

    async def _do(self, deed: str, lasts_s: int) -> None:
        if deed == "still":
            id_ = str(len(self._taken))
            self._taken[id_] = self._clocks.s, not self._clocks.ahead_s
            await keep(self._archive, capture(id_, created_ns=self._clocks.now().wall_ns))
        elif deed == "on":
            self._clocks.s += lasts_s
        else:
            await self._archive.close()
            self._clocks.s += lasts_s
            await self._start()

    async def _check(self) -> None:
        await self._retention.enforce()
        left, oldest = await self._left(), self._clocks.s - KEPT_DAYS * DAY_S
        gone = [id_ for id_, (at, _) in self._taken.items() if at > oldest and id_ not in left]
        assert not gone, f"deleted too early: {gone} of {self._taken}"

    async def _left(self) -> set[str]:
        found = await self._archive.page(Filter(), before=None, limit=1000)
        return {record.capture_id for _, record in found}


@given(times=st.lists(st.tuples(RIGHT, AHEAD_S, WRONG), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_no_picture_goes_before_its_time_and_each_goes_after_it(
    times: list[tuple[list[tuple[str, int]], int, list[tuple[str, int]]]],
) -> None:
    """Whenever the clock is wrong for less than an hour, with stills and restarts meanwhile.

    It has been right for an hour before; a picture whose label is wrong may stay for longer.
    """
    alternating: list[tuple[int, Sequence[tuple[str, int]]]] = [(0, [STILL])]
    for right, ahead_s, wrong in times:
        alternating += [(0, [*right, ("on", HOUR_S)]), (ahead_s, wrong)]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(Past(Path(folder)).live(alternating))
