"""Every reader of events is given each once and in order, at its own pace, from its own place."""

import asyncio
import gc
import random
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from camsvc.model.errors import CameraUnavailable
from camsvc.model.records import EventRecord
from camsvc.storage.archive import Archive
from camsvc.storage.event_feed import HEARTBEAT_S, Gap, Heartbeat
from tests.support.fakefeed import FeedRig
from tests.support.keeping import BOUND_S, note

CAMERAS = st.sampled_from(["left", "right"])
ASKED = st.sampled_from(["", "", "left", "right"])
RECENT, PAGE, PAGE_S = 256, 50, 0.1


@pytest.fixture
def rig() -> Iterator[FeedRig]:
    with FeedRig() as rig:
        yield rig


# Each once, in order.

STEPS = st.one_of(
    st.tuples(st.just("write"), st.lists(CAMERAS, min_size=1, max_size=5), st.integers(1, 80)),
    st.tuples(st.just("publish late"), st.lists(CAMERAS, min_size=1, max_size=5)),
    st.tuples(st.just("read"), ASKED, st.floats(0, 1), st.sampled_from([0.0, 0.0, 0.01, 0.3])),
    st.tuples(st.just("read from now"), ASKED),
    st.tuples(st.just("trim"), st.integers(0, 300)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.001, 0.01, 1.0])),
)


# All that a page is asked for goes while the journal is read, and so does what came meanwhile.
@example(
    steps=[
        ("write", ["left"] * 5, 52),
        ("read", "", 0.0, 0.0),
        ("write", ["left"], 1),
        ("trim", 0),
    ],
    lag_s=0.004,
)
@given(steps=st.lists(STEPS, max_size=40), lag_s=st.sampled_from([0.0, 0.004]))
@settings(max_examples=60, deadline=None)
def test_a_reader_is_given_each_event_once_and_in_order_from_any_place(
    steps: list[tuple[object, ...]], lag_s: float
) -> None:
    with FeedRig(lag_s) as rig:
        for step in steps:
            match step:
                case "write", list(cameras), int(times):
                    rig.write(*cameras * times)
                case "publish late", list(cameras):
                    events = rig.commit(*cameras)
                    rig.wait(0.002)
                    for event in events:
                        rig.feed.publish(event)
                case "read", str(camera), float(share), float(pause_s):
                    rig.read(camera, int(share * len(rig.cameras)), pause_s)
                case "read from now", str(camera):
                    rig.read(camera, None)
                case "trim", int(keep):
                    rig.trim(keep)
                case "wait", float(seconds):
                    rig.wait(seconds)
        rig.come_to_rest()
        for reader in rig.readers:
            reader.check()
            assert reader.error is None


async def test_readers_at_all_places_keep_up_with_an_archive_that_is_written_to(
    archive: Archive,
) -> None:
    rng = random.Random(7)
    count, cameras = 2000, ["left", "right"]
    kept = [cameras[rng.randrange(2)] for _ in range(count)]

    async def read(camera: str, after: int) -> list[int]:
        due = [n for n in range(after + 1, count + 1) if camera in ("", kept[n - 1])]
        found: list[int] = []
        async for item in archive.events.follow(camera, after):
            assert isinstance(item, EventRecord)
            found.append(item.sequence)
            if len(found) == len(due):
                break
            if rng.random() < 0.01:
                await asyncio.sleep(0.001)
        assert found == due
        return found

    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        for number, camera in enumerate(kept):
            archive.captures.note(note(number, camera))
            if number % 100 == 0:
                asked = rng.choice(["", *cameras])
                group.create_task(read(asked, rng.randrange(archive.events.last_sequence + 1)))
                await asyncio.sleep(0)
    assert archive.events.last_sequence == count


def test_only_one_cameras_events_are_given_when_that_is_asked_for(rig: FeedRig) -> None:
    reader = rig.read("left")
    rig.write(*["left", "right"] * 200)
    late = rig.read("left", 100)
    rig.wait(1)
    rig.write("right", "left")
    rig.wait(1)
    assert reader.sequences == [*range(1, 400, 2), 402]
    assert late.sequences == [*range(101, 400, 2), 402]


def test_who_asks_from_now_is_told_where_that_is_and_given_what_comes(rig: FeedRig) -> None:
    rig.write("left", "left")
    reader = rig.read(after=None)
    assert reader.items == [(0, Heartbeat(2))]
    rig.write("left", "right")
    rig.wait(1)
    assert reader.sequences == [3, 4]


def test_an_event_that_nobody_was_told_of_is_found_in_the_journal(rig: FeedRig) -> None:
    reader = rig.read()
    rig.write("left")
    rig.commit("left")  # whoever wrote it was cancelled before it could be published
    rig.write("left")
    rig.wait(1)
    assert reader.sequences == [1, 2, 3]


def test_those_that_are_up_to_date_do_not_ask_the_journal(rig: FeedRig) -> None:
    readers = [rig.read() for _ in range(20)]
    for _ in range(50):
        rig.write("left")
        rig.wait(0.01)
    assert all(reader.sequences == list(range(1, 51)) for reader in readers)
    assert rig.journal.reads == 0


# A gap.


def test_who_asks_for_what_was_trimmed_is_told_of_the_gap(rig: FeedRig) -> None:
    rig.write(*["left"] * 600)
    rig.trim(400)
    reader = rig.read(after=100)
    rig.wait(1)
    assert reader.items[0][1] == Gap(201)
    assert reader.sequences == list(range(201, 601))


def test_a_slow_reader_that_is_overtaken_by_trimming_is_told_of_the_gap(rig: FeedRig) -> None:
    rig.write(*["left"] * 1000)
    reader = rig.read(pause_s=0.01)
    rig.trim(300)
    rig.wait(60)
    assert reader.gaps == [701]
    assert reader.sequences == [*range(1, PAGE + 1), *range(701, 1001)], "the page it had begun"


def test_when_everything_was_trimmed_the_next_event_is_the_first(rig: FeedRig) -> None:
    rig.write(*["left"] * 600)
    rig.trim(0)
    reader = rig.read(after=0)
    rig.wait(1)
    rig.write("left")
    rig.wait(1)
    assert reader.gaps == [601]
    assert reader.sequences == [601]


def test_what_is_trimmed_up_to_the_readers_place_is_no_gap(rig: FeedRig) -> None:
    rig.write(*["left"] * 600)
    rig.trim(400)
    reader = rig.read(after=200)
    rig.wait(1)
    assert not reader.gaps
    assert reader.sequences[0] == 201


# Heartbeats.


def test_a_reader_that_hears_nothing_is_told_so_every_ten_seconds(rig: FeedRig) -> None:
    rig.write("left")
    reader = rig.read()
    rig.wait(35)
    assert reader.heartbeats == [(10, 1), (20, 1), (30, 1)]
    rig.write("left")
    rig.wait(20)
    assert reader.heartbeats[3:] == [(45, 2), (55, 2)], "counted from the last message"


def test_other_cameras_events_do_not_put_a_heartbeat_off(rig: FeedRig) -> None:
    reader = rig.read("left")
    for _ in range(250):
        rig.write("right")
        rig.wait(0.1)
    times = [at for at, _ in reader.heartbeats]
    assert times == pytest.approx([10, 20], abs=0.3)
    places = [last for _, last in reader.heartbeats]
    assert places == pytest.approx([100, 200], abs=3), "it need not be given those again"


def test_a_busy_reader_has_no_heartbeats(rig: FeedRig) -> None:
    reader = rig.read()
    for _ in range(30):
        rig.wait(HEARTBEAT_S - 1)
        rig.write("left")
    rig.wait(0)
    assert not reader.heartbeats


# Slow readers, and many.


def test_slow_readers_do_not_keep_others_from_their_pages(rig: FeedRig) -> None:
    rig.write(*["left"] * 2000)
    slow = [rig.read(pause_s=1000) for _ in range(10)]
    quick = rig.read()
    rig.wait(len(slow) * PAGE_S / 2 + 0.1)
    assert len(quick.sequences) == 2000
    assert all(len(reader.sequences) == 1 for reader in slow)


def test_readers_that_replay_have_their_pages_in_turns(rig: FeedRig) -> None:
    rig.journal.lag_s = 0.01
    rig.write(*["left"] * 1000)
    readers = [rig.read(after=place) for place in range(20)]
    rig.wait(1)
    counts = sorted(len(reader.sequences) for reader in readers)
    assert counts[-1] - counts[0] <= PAGE, "none is a page ahead of another"
    assert rig.journal.reads == pytest.approx(100, abs=6), "two at a time, half of the time"
    rig.wait(10)
    for reader in readers:
        reader.check()


def test_readers_that_replay_from_the_same_place_share_what_was_read(rig: FeedRig) -> None:
    rig.journal.lag_s = 0.01
    rig.write(*["left"] * 1000)
    before = events_in_memory()
    readers = [rig.read() for _ in range(100)]
    rig.wait(10)
    assert rig.journal.reads <= 2 * 1000 / PAGE
    for reader in readers:
        reader.check()
        reader.items.clear()
    assert events_in_memory() - before <= 8 * PAGE, "a few pages are kept"


@pytest.mark.parametrize("keep", [300, 100])
def test_what_was_read_once_and_trimmed_since_is_a_gap_all_the_same(
    rig: FeedRig, keep: int
) -> None:
    """Though it is in memory yet: as a page, or among the newest."""
    rig.write(*["left"] * 600)
    rig.read()
    rig.wait(1)
    rig.trim(keep)
    late = [rig.read(after=0), rig.read(after=550 - keep)]
    rig.wait(1)
    for reader in late:
        assert reader.gaps == [601 - keep]
        assert reader.sequences == list(range(601 - keep, 601))


def test_a_reader_that_leaves_gives_its_turn_up(rig: FeedRig) -> None:
    rig.journal.lag_s = 50.0
    rig.write(*["left"] * 1000)
    for reader in [rig.read() for _ in range(10)]:
        rig.wait(0.01)
        reader.task.cancel()
    rig.journal.lag_s = 0.0
    last = rig.read()
    rig.wait(1)
    assert len(last.sequences) == 1000


def test_the_feed_keeps_the_newest_few_and_readers_nothing_of_their_own(rig: FeedRig) -> None:
    for _ in range(50):
        rig.read(after=None, pause_s=10**6)
    before = events_in_memory()
    rig.write(*["left"] * 3000)
    rig.wait(1)
    assert events_in_memory() - before <= RECENT + 1


def events_in_memory() -> int:
    gc.collect()
    return sum(isinstance(each, EventRecord) for each in gc.get_objects())


# The end of the service.


def test_at_the_end_every_reader_is_told_where_it_was(rig: FeedRig) -> None:
    rig.write(*["left"] * 120)
    waiting, replaying = rig.read(after=None), rig.read(pause_s=0.01)
    rig.wait(0.015)
    rig.feed.end()
    rig.wait(10)
    for reader in (waiting, replaying):
        assert isinstance(reader.error, CameraUnavailable)
        assert reader.error.retry_after_s
        last = reader.sequences[-1] if reader.sequences else 120
        assert reader.error.metadata == {"last_sequence": str(last)}
        assert reader.sequences == list(range(1, last + 1)) or reader is waiting


def test_who_comes_after_the_end_is_told_so(rig: FeedRig) -> None:
    rig.write("left")
    rig.feed.end()
    reader = rig.read()
    rig.wait(1)
    assert isinstance(reader.error, CameraUnavailable)


async def test_it_goes_on_from_where_the_journal_was_left(archive: Archive) -> None:
    assert archive.events.last_sequence == 0
    archive.captures.note(note(1))
    event = await anext(archive.events.follow("", 0))
    assert isinstance(event, EventRecord)
    assert event.sequence == 1
