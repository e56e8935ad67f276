"""Events and their readers on a loop with virtual time; the journal is in memory."""

import asyncio
import sqlite3
from collections.abc import Coroutine
from typing import Any, TypeVar

from camsvc.model.records import EventRecord, EventType
from camsvc.storage import event_queries, schema
from camsvc.storage.database import Database, Job
from camsvc.storage.event_feed import EventFeed, Gap, Heartbeat
from tests.support.loops import new_virtual_loop

T = TypeVar("T")

Item = EventRecord | Heartbeat | Gap


class MemoryDatabase(Database):
    """Answers after `lag_s`, with what there was half of that before."""

    def __init__(self, lag_s: float) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        schema.prepare(self.db)
        self.lag_s = lag_s
        self.reads = 0

    async def read(self, query: Job[T]) -> T:
        self.reads += 1
        await asyncio.sleep(self.lag_s / 2)
        answer = query(self.db)
        await asyncio.sleep(self.lag_s / 2)
        return answer


class Reader:
    """Follows from a place, at its own pace; has what it was given, and when."""

    def __init__(
        self, rig: "FeedRig", camera: str = "", after: int | None = 0, pause_s: float = 0.0
    ) -> None:
        self._rig = rig
        self.camera, self.pause_s = camera, pause_s
        self.place = rig.feed.last_sequence if after is None else after
        self.items: list[tuple[float, Item]] = []
        self.error: Exception | None = None
        self.task = rig.loop.create_task(self._read(after))

    async def _read(self, after: int | None) -> None:
        try:
            async for item in self._rig.feed.follow(self.camera, after):
                self.items.append((self._rig.loop.time(), item))
                await asyncio.sleep(self.pause_s)
        except Exception as error:
            self.error = error

    @property
    def sequences(self) -> list[int]:
        """The numbers of the events it was given."""
        return [item.sequence for _, item in self.items if isinstance(item, EventRecord)]

    @property
    def gaps(self) -> list[int]:
        return [item.first_available_sequence for _, item in self.items if isinstance(item, Gap)]

    @property
    def heartbeats(self) -> list[tuple[float, int]]:
        return [(at, item.last_sequence) for at, item in self.items if isinstance(item, Heartbeat)]

    def check(self) -> None:
        """Look whether it has everything since its place, once and in order, but for gaps."""
        cameras = self._rig.cameras
        due, first = [], self.place + 1
        for _, item in self.items:
            if isinstance(item, Gap):
                assert item.first_available_sequence > first, "a gap where nothing is missing"
                assert item.first_available_sequence <= self._rig.trimmed_to + 1
                first = item.first_available_sequence
            elif isinstance(item, EventRecord):
                due += [n for n in range(first, item.sequence + 1) if self._wants(cameras[n - 1])]
                first = item.sequence + 1
            else:
                assert item.last_sequence >= first - 1, "a heartbeat from the past"
        due += [n for n in range(first, len(cameras) + 1) if self._wants(cameras[n - 1])]
        assert self.sequences == due

    def _wants(self, camera: str) -> bool:
        return self.camera in ("", camera)


class FeedRig:
    """A feed, what was written, and the readers. Use as `with`."""

    def __init__(self, lag_s: float = 0.0) -> None:
        self.loop = new_virtual_loop()
        self.journal = MemoryDatabase(lag_s)
        self.feed: EventFeed = self.run(self._feed())
        self.cameras: list[str] = []
        """That of each event, in their order."""
        self.trimmed_to = 0
        self.readers: list[Reader] = []

    async def _feed(self) -> EventFeed:
        return EventFeed(self.journal, 0)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        result: T = self.loop.run_until_complete(work)
        return result

    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    def come_to_rest(self) -> None:
        """Wait until no reader is given anything but heartbeats any more."""
        given = -1
        while given != (given := sum(len(r.sequences) + len(r.gaps) for r in self.readers)):
            self.wait(5)

    def commit(self, *cameras: str) -> list[EventRecord]:
        """Commit an event of each; they have yet to be published."""
        self.cameras += cameras
        events = [EventRecord(EventType.PROGRESS, 0, camera) for camera in cameras]
        return [event_queries.add_event(self.journal.db, event) for event in events]

    def write(self, *cameras: str) -> None:
        """Commit an event of each, and publish them."""
        for event in self.commit(*cameras):
            self.feed.publish(event)

    def trim(self, keep: int) -> None:
        event_queries.trim_events(self.journal.db, before_time_ns=None, keep=keep, limit=10**9)
        self.trimmed_to = max(self.trimmed_to, len(self.cameras) - keep)
        self.feed.trimmed(event_queries.event_span(self.journal.db)[0])

    def read(self, camera: str = "", after: int | None = 0, pause_s: float = 0.0) -> Reader:
        reader = Reader(self, camera, after, pause_s)
        self.readers.append(reader)
        self.wait(0)
        return reader

    def __enter__(self) -> "FeedRig":
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self.readers:
            reader.task.cancel()
        self.wait(1)
        self.run(self.loop.shutdown_asyncgens())
        left = asyncio.all_tasks(self.loop)
        self.loop.close()
        self.journal.db.close()
        assert not left, f"tasks left behind: {left}"
