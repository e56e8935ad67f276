"""Whatever fails, and whoever leaves: what is essential is written once and in order."""

import asyncio
import contextlib
import errno
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from camsvc.model.records import EventRecord, EventType
from camsvc.storage import event_queries
from camsvc.storage.database import Database, Job
from camsvc.storage.event_feed import EventFeed, Gap
from camsvc.storage.write_queue import WriteQueue
from tests.support.waiting import until

BOUND_S = 20.0
RETRY_S = 0.005
MAX_PENDING = 8


class Rig:
    """A queue on a disk that can fail, and what has come to it."""

    def __init__(self, path: Path, max_pending: int = MAX_PENDING) -> None:
        self.broken: BaseException | None = None
        self.database = Database(path, before_commit=self._before_commit)
        self.feed = EventFeed(self.database, 0)
        self.queue = WriteQueue(self.database, self.feed, retry_s=RETRY_S, max_pending=max_pending)
        self.posted: list[int] = []
        """The essential ones, in the order of posting."""
        self.dropped = 0

    def _before_commit(self) -> None:
        if self.broken is not None:
            raise self.broken

    def job(self, number: int) -> Job[EventRecord]:
        """Return a write of an event that is known by its number."""

        event = EventRecord(EventType.PROGRESS, number, "cam")
        return lambda db: event_queries.add_event(db, event)

    def post(self, *, droppable: bool = False) -> None:
        number = len(self.posted) + 1
        before = self.queue.dropped_writes
        self.queue.post(self.job(0 if droppable else number), droppable=droppable)
        if not droppable:
            self.posted.append(number)
        self.dropped += self.queue.dropped_writes - before

    def fill(self) -> None:
        self.broken = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def at_rest(self) -> None:
        async def written() -> bool:
            return not self.queue.pending

        await until(written, "all is written", within_s=BOUND_S)

    async def read(self) -> list[EventRecord | Gap]:
        """Return what a reader is given from the beginning on."""
        found: list[EventRecord | Gap] = []
        place = 0
        async with contextlib.aclosing(self.feed.follow("cam", 0)) as items:
            while place < self.feed.last_sequence:
                item = await anext(items)
                assert isinstance(item, EventRecord | Gap)
                found.append(item)
                place = (
                    item.sequence
                    if isinstance(item, EventRecord)
                    else (item.first_available_sequence - 1)
                )
        return found

    async def close(self) -> None:
        await self.queue.close()
        await self.database.close()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path / "journal.db")
    yield rig
    await rig.close()


async def stalled(rig: Rig) -> None:
    """Wait until writes wait for room."""

    async def cannot_flush() -> bool:
        try:
            await rig.queue.flush()
        except OSError:
            return True
        return False

    await until(cannot_flush, "writes wait for room", within_s=BOUND_S)


async def write(rig: Rig, steps: int) -> None:
    """Write and wait for it; leave after some steps of the event loop."""
    number = len(rig.posted) + 1
    rig.posted.append(number)
    writing = asyncio.ensure_future(_ignoring(rig.queue.write(rig.job(number)), rig, number))
    for _ in range(steps):
        await asyncio.sleep(0)
    if steps:
        writing.cancel()
    await asyncio.wait([writing])


async def _ignoring(work: Any, rig: Rig, number: int) -> None:
    try:
        await work
    except OSError:
        rig.posted.remove(number)  # its caller was told that it is not written


STEPS = st.one_of(
    st.tuples(st.just("post"), st.integers(1, 12)),
    st.tuples(st.just("note"), st.integers(1, 12)),
    st.tuples(st.just("full")),
    st.tuples(st.just("room")),
    st.tuples(st.just("broken")),
    st.tuples(st.just("other write fails")),
    st.tuples(st.just("flush"), st.integers(0, 8)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.001, 2 * RETRY_S])),
    st.tuples(st.just("steps"), st.integers(1, 6)),
)


# One finds the disk full, and the one behind it would not.
@example(steps=[("full",), ("post", 1), ("steps", 1), ("wait", 0.001), ("room",), ("post", 1)])
@given(steps=st.lists(STEPS, max_size=25))
@settings(max_examples=60, deadline=None)
def test_what_is_essential_is_written_once_and_in_order(
    steps: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """And each event is written, or is in a gap."""

    async def drive() -> None:  # noqa: PLR0912 - a branch for each kind of step
        rig = Rig(tmp_path_factory.mktemp("queue") / "journal.db")
        notes = 0
        try:
            for step in steps:
                match step:
                    case "post", int(times):
                        for _ in range(times):
                            rig.post()
                    case "note", int(times):
                        notes += times
                        for _ in range(times):
                            rig.post(droppable=True)
                    case ("full",):
                        rig.fill()
                    case ("broken",):
                        rig.broken = sqlite3.OperationalError("database is locked")
                    case ("room",):
                        rig.broken = None
                    case ("other write fails",):
                        kept, rig.broken = rig.broken, ValueError("unforeseen")
                        with pytest.raises(ValueError, match="unforeseen"):
                            await rig.database.write(lambda db: None)
                        rig.broken = kept
                    case "flush", int(count):
                        flushing = asyncio.ensure_future(rig.queue.flush())
                        for _ in range(count):
                            await asyncio.sleep(0)
                        if count:
                            flushing.cancel()
                        await asyncio.wait([flushing])
                        assert flushing.cancelled() or isinstance(
                            flushing.exception(), Exception | None
                        )
                    case "wait", float(seconds):
                        await asyncio.sleep(seconds)
                    case "steps", int(count):
                        for _ in range(count):
                            await asyncio.sleep(0)
            rig.broken = None
            await rig.at_rest()
            items = await rig.read()
        finally:
            await rig.close()
        events = [item for item in items if isinstance(item, EventRecord)]
        assert [e.time_ns for e in events if e.time_ns] == rig.posted
        assert sum(not e.time_ns for e in events) == notes - rig.dropped
        assert rig.feed.last_sequence == len(events) + rig.dropped
        assert any(isinstance(item, Gap) for item in items) == (rig.dropped > 0)
        starts = {item.first_available_sequence for item in items if isinstance(item, Gap)}
        for earlier, later in zip([0, *(e.sequence for e in events)], events, strict=False):
            assert (later.sequence == earlier + 1) != (later.sequence in starts)

    with capture_logs():
        asyncio.run(drive())


@pytest.mark.parametrize("steps", range(8))
@pytest.mark.parametrize("full", [False, True])
async def test_a_write_whose_caller_leaves_is_done_once_or_not_at_all(
    rig: Rig, steps: int, full: bool
) -> None:
    rig.post()
    if full:
        rig.fill()
        rig.post()
        await asyncio.sleep(2 * RETRY_S)
    await write(rig, steps)
    rig.broken = None
    rig.post()
    await rig.at_rest()
    await rig.queue.flush()
    found = [item.time_ns for item in await rig.read() if isinstance(item, EventRecord)]
    assert found == sorted(set(found)), "in order, and once"
    assert set(rig.posted[:1]) <= set(found)
    assert rig.posted[-1] in found


async def test_a_job_that_cannot_be_written_is_logged_and_keeps_nobody_waiting(rig: Rig) -> None:
    def fail(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO nothing VALUES (1)")

    rig.fill()
    rig.post()
    rig.queue.post(fail)
    rig.post()
    await stalled(rig)
    with capture_logs() as logs:
        rig.broken = None
        await rig.at_rest()
    assert [log["event"] for log in logs] == ["journal write failed", "journal written again"]
    assert [item.time_ns for item in await rig.read() if isinstance(item, EventRecord)] == [1, 2]


async def test_what_is_dropped_is_counted_and_logged_once_with_its_number(rig: Rig) -> None:
    with capture_logs() as logs:
        for _ in range(2):
            rig.fill()
            for _ in range(3 * MAX_PENDING):
                rig.post(droppable=True)
                await asyncio.sleep(0)
            rig.broken = None
            await rig.at_rest()
    assert rig.queue.dropped_writes == rig.dropped >= 2 * MAX_PENDING
    ends = [log["dropped_writes"] for log in logs if log["event"] == "journal written again"]
    assert sum(ends) == rig.dropped
    assert len(ends) == sum(log["event"].startswith("events are dropped") for log in logs) == 2


async def test_when_not_even_ends_of_captures_find_room_no_capture_may_begin(rig: Rig) -> None:
    rig.fill()
    seen = []
    for _ in range(2 * MAX_PENDING):
        seen.append(rig.queue.overfull)
        rig.post()
    seen.append(rig.queue.overfull)
    assert seen == [False] * 2 * MAX_PENDING + [True]
    rig.broken = None
    await rig.at_rest()
    assert not rig.queue.overfull
    assert len(await rig.read()) == 2 * MAX_PENDING


async def test_a_reader_of_one_camera_is_told_of_a_gap_once(rig: Rig) -> None:
    reader = rig.feed.follow("another camera", 0)
    rig.fill()
    for _ in range(2 * MAX_PENDING):
        rig.post(droppable=True)
    async with asyncio.timeout(BOUND_S):
        coming = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(2 * RETRY_S)
        rig.broken = None
        assert await coming == Gap(2 * MAX_PENDING + 1)
        last = EventRecord(EventType.PROGRESS, 1, "another camera")
        rig.queue.post(lambda db: event_queries.add_event(db, last))
        event = await anext(reader)
    assert isinstance(event, EventRecord)
    assert event.sequence == 2 * MAX_PENDING + 1
    await reader.aclose()


async def test_an_unforeseen_error_with_a_write_is_logged_and_those_behind_it_go_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = rig.feed.publish
    fails = [True]

    def fail_once(event: EventRecord) -> None:
        if fails:
            fails.clear()
            raise RuntimeError("unforeseen")
        publish(event)

    rig.fill()
    rig.post()
    rig.post()
    await stalled(rig)
    with capture_logs() as logs:
        monkeypatch.setattr(rig.feed, "publish", fail_once)
        rig.broken = None
        rig.post()
        await rig.queue.flush()
    (log,) = [log for log in logs if log["event"] == "unhandled exception"]
    assert log["task"] == "journal queue"
    assert log["exc_info"]
    assert [item.time_ns for item in await rig.read() if isinstance(item, EventRecord)] == [1, 2, 3]
