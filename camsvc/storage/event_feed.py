"""Events for any number of readers, each at a place of its own in the one sequence.

Invariant: what a reader has not taken yet is kept in the database and nowhere else, but for the
newest few and a few pages of those before, which all readers share. A slow one costs no memory.
"""

import asyncio
import contextlib
import itertools
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from sqlite3 import Connection

from camsvc.model.errors import CameraUnavailable
from camsvc.model.records import EventRecord
from camsvc.model.retry_hint import SERVICE_RESTART_S
from camsvc.storage import event_queries as rows
from camsvc.storage.database import Database

HEARTBEAT_S = 10.0

_RECENT = 256
"""Newest events kept in memory: readers that are up to date need not read the database."""

_PAGE, _PAGE_BYTES = 50, 1 << 20
"""Events that a reader takes from the database at once, and what they may take there together."""

_CATCHING_UP = 2
"""Readers that may replay history at the same time, each for a page, then the next one's turn. A
hundred of them at once would keep each call of all others waiting for a hundred messages."""

_PAGE_S = 0.1
"""A reader that has not taken its page by then is slow, and no longer keeps others from theirs."""

_REST = 1.0
"""After a page, as many times what it took is left to all others before the next one's turn: a
hundred readers that replay delay a capture by some 5 ms (p99) so, and by up to 50 ms without."""

_PAGES = 8
"""Pages kept in memory: readers that replay at one time, as after a restart, take the same ones."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Nothing has happened. The reader has everything up to `last_sequence`."""

    last_sequence: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that were asked for are gone; the next one is `first_available_sequence`.

    They were deleted by age or number, or the disk had no room for them.
    """

    first_available_sequence: int


@dataclass(frozen=True, slots=True)
class _Batch:
    messages: Sequence[EventRecord | Gap]
    place: int
    """Where the reader stands after them."""


class EventFeed:
    """Gives readers what the database has, then what is published."""

    def __init__(self, database: Database, last_sequence: int) -> None:
        self._database = database
        self.last_sequence = last_sequence
        self._recent: deque[EventRecord] = deque(maxlen=_RECENT)
        self._grown = asyncio.Event()
        self._turns = asyncio.Semaphore(_CATCHING_UP)
        self._pages: OrderedDict[tuple[int, str], _Batch] = OrderedDict()
        """By place and camera; events do not change, but they go."""
        self._oldest = 0
        """The oldest event that is kept, as far as is known: what is before it is in a gap."""
        self._ended = False

    def publish(self, event: EventRecord) -> None:
        """Give a committed event to the readers; events come in the order of their sequence."""
        if event.sequence != self.last_sequence + 1:
            self._recent.clear()  # readers that lack what is between find it in the database
        self.last_sequence = event.sequence
        self._recent.append(event)
        self._wake()

    def skip(self, last_missing: int) -> None:
        """Note that the events up to this one are missing: readers find a gap there."""
        self._recent.clear()
        self.last_sequence = last_missing
        self._wake()

    def trimmed(self, oldest: int) -> None:
        """Note that the events before `oldest` are gone."""
        self._oldest = max(oldest, self._oldest)

    def end(self) -> None:
        """Let every reader go, as the service stops; it resumes where it was."""
        self._ended = True
        self._wake()

    async def follow(
        self, camera: str, after: int | None
    ) -> AsyncGenerator[EventRecord | Heartbeat | Gap, None]:
        """Yield every event after a number, of one camera or (empty) of all, also those to come.

        `after` None: begin with the next event; a first heartbeat says where that is. A gap comes
        whenever the reader's place is older than what is kept.

        Raises:
            CameraUnavailable: the service stops.
        """
        loop = asyncio.get_running_loop()
        place = self.last_sequence if after is None else after
        if after is None:
            yield Heartbeat(place)
        quiet_since = loop.time()
        while not self._ended:
            grown = self._grown
            if place < self.last_sequence:
                async with self._batch(place, camera) as batch:
                    for message in batch.messages:
                        yield message
                        quiet_since = loop.time()
                place = batch.place
                continue
            try:
                async with asyncio.timeout_at(quiet_since + HEARTBEAT_S):
                    await grown.wait()
            except TimeoutError:
                yield Heartbeat(place)
                quiet_since = loop.time()
        raise CameraUnavailable(
            f"the service stops; resume after event {place} when it has started again",
            retry_after_s=SERVICE_RESTART_S,
            metadata={"last_sequence": str(place)},
        )

    @contextlib.asynccontextmanager
    async def _batch(self, place: int, camera: str) -> AsyncIterator[_Batch]:
        """Give what comes next after a place; from the database only in the reader's turn."""
        if self._recent and place + 1 >= max(self._recent[0].sequence, self._oldest):
            # Each follows the other: the place of one is a matter of counting.
            start = place + 1 - self._recent[0].sequence
            newest = list(itertools.islice(self._recent, start, None))
            wanted = [event for event in newest if camera in ("", event.camera)]
            yield _Batch(wanted, newest[-1].sequence)
        else:
            async with self._turn():
                yield await self._page(place, camera)

    async def _page(self, place: int, camera: str) -> _Batch:
        kept = self._pages.get((place, camera))
        if kept is not None and place + 1 >= self._oldest:
            return kept
        page, whole = await self._database.read(lambda db: _read_page(db, place, camera))
        if whole:
            self._pages[place, camera] = page
            if len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
        return page

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for a turn to replay a page; it ends after the page, or before a slow one does."""
        await self._turns.acquire()
        turn = contextlib.ExitStack()  # whose callback is called once, however often it is closed
        turn.callback(self._turns.release)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        timer = loop.call_later(_PAGE_S, turn.close)
        try:
            yield
        finally:
            timer.cancel()
            loop.call_later(_REST * (loop.time() - begun), turn.close)

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()


def _read_page(db: Connection, place: int, camera: str) -> tuple[_Batch, bool]:
    """Return what comes next after a place, and whether it is as much as fits, and has no gap."""
    found, full = rows.events(db, after=place, camera=camera, limit=_PAGE, max_bytes=_PAGE_BYTES)
    first, last = rows.event_span(db)
    # A short page has everything that there is.
    reached = found[-1].sequence if full else last
    gaps = [Gap(first)] if first > place + 1 else []
    gaps += [Gap(end + 1) for end in rows.gaps(db, after=max(place, first - 1), until=reached)]
    # The sort is stable: a gap stays before the event that follows it.
    messages: list[EventRecord | Gap] = [*gaps, *found]
    messages.sort(key=lambda m: m.first_available_sequence if isinstance(m, Gap) else m.sequence)
    return _Batch(messages, reached), full and not gaps
