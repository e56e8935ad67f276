"""What is kept is found again, whatever is asked for, and no page reads the whole history.

Hypothesis drives the tables against plain lists.
"""

import contextlib
import dataclasses
import itertools
import math
import re
import sqlite3
from collections.abc import Iterator
from sqlite3 import Connection
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from camsvc.model.records import (
    CaptureRecord,
    CaptureState,
    EventRecord,
    EventType,
    Failure,
    Filter,
    StoredImage,
)
from camsvc.storage import event_queries, labels, schema
from camsvc.storage import queries as rows

ENDED = [CaptureState.SUCCEEDED, CaptureState.FAILED, CaptureState.CANCELLED]
CAMERAS = ["left", "right"]
NO_REASON: dict[str, Any] = {"before": None, "without_label": None, "without": ()}


def tables() -> Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    schema.prepare(db)
    return db


@pytest.fixture
def db() -> Iterator[Connection]:
    with contextlib.closing(tables()) as db:
        yield db


def ended(record: CaptureRecord, state: CaptureState, size_bytes: int = 10) -> CaptureRecord:
    """Return a capture's record at its end; with a picture when it has succeeded."""
    path = f"captures/2026-01-01/{record.capture_id}.jpg"
    image = StoredImage(path, "image/jpeg", 4, 3, size_bytes, "abc")
    succeeded = state is CaptureState.SUCCEEDED
    return dataclasses.replace(record, state=state, image=image if succeeded else None)


def passes(record: CaptureRecord, asked: Filter) -> bool:
    """Say what `page` should of a record, as plainly as can be."""
    return (
        asked.camera in ("", record.camera)
        and all(record.labels.get(key) == value for key, value in asked.labels.items())
        and (asked.start_ns is None or asked.start_ns <= record.create_time_ns)
        and (asked.end_ns is None or record.create_time_ns < asked.end_ns)
        and (not asked.states or record.state in asked.states)
    )


LABELS = st.dictionaries(st.sampled_from(["", "a", "b", "c"]), st.sampled_from(["", "1", "2"]))
TIMES = st.integers(1, 6)
"""So few that many captures have the same."""
CAPTURES = st.tuples(
    st.sampled_from(CAMERAS), TIMES, LABELS, st.sampled_from([*CaptureState, *ENDED[:1] * 3])
)
FILTERS = st.builds(
    Filter,
    st.sampled_from(["", "", "", *CAMERAS]),
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["", "1", "2"]), max_size=2),
    st.none() | st.integers(1, 3),
    st.none() | st.integers(4, 7),
    st.just([]) | st.lists(st.sampled_from(CaptureState), max_size=3),
)


@given(
    history=st.lists(CAPTURES, min_size=5, max_size=30),
    changes=st.lists(st.tuples(st.lists(CAPTURES, max_size=3), st.sets(st.integers(0, 30)))),
    asked=FILTERS,
    limit=st.integers(1, 6),
    max_bytes=st.just(math.inf) | st.integers(0, 2000),
)
@settings(max_examples=300, deadline=None)
def test_pages_stay_right_while_captures_come_and_go(
    history: list[tuple[str, int, dict[str, str], CaptureState]],
    changes: list[tuple[list[tuple[str, int, dict[str, str], CaptureState]], set[int]]],
    asked: Filter,
    limit: int,
    max_bytes: float,
) -> None:
    """Each page has what is older than the last one's end, whatever came or went in between.

    It is not longer than was asked for, neither in captures nor in bytes, but for a single one.
    """
    records: list[CaptureRecord] = []
    gone: set[int] = set()
    before: tuple[int, int] | None = None
    with contextlib.closing(tables()) as db:
        for captures, deleted in ((history, ()), *changes, *([([], ())] * len(history))):
            for camera, time_ns, given_labels, state in captures:
                about = (f"id {len(records)}", camera, time_ns)
                record = CaptureRecord(*about, labels=given_labels)
                records.append(ended(record, state))
                rows.add_capture(db, records[-1])
            for number in deleted:
                rows.delete_capture(db, f"id {number}")
                gone.add(number)
            gone &= set(range(len(records)))  # who was not there yet is still to come
            expected = [
                ((record.create_time_ns, number), record)
                for number, record in enumerate(records, 1)
                if passes(record, asked)
                and number - 1 not in gone
                and (before is None or (record.create_time_ns, number) < before)
            ]
            expected.sort(key=lambda each: each[0], reverse=True)
            page, more = rows.page(db, asked, before=before, limit=limit, max_bytes=max_bytes)
            assert page == expected[: len(page)]
            assert more == (len(expected) > len(page))
            if not page:
                assert not expected
                break
            before = page[-1][0]
            fits = sum(map(stored_bytes, [record for _, record in page])) <= max_bytes
            assert fits or len(page) == 1
            if more and len(page) < limit:
                one_more = [record for _, record in expected[: len(page) + 1]]
                assert sum(map(stored_bytes, one_more)) > max_bytes, "as many as fit"


def stored_bytes(record: CaptureRecord) -> int:
    bare = dataclasses.replace(record, labels={})
    return len(bare.to_json()) + len(labels.pack(record.labels))


@given(
    history=st.lists(CAPTURES, min_size=5, max_size=30),
    before=st.none() | st.tuples(TIMES, st.integers(0, 31)),
    label=st.none() | st.tuples(st.sampled_from(["", "a", "b"]), st.sampled_from(["", "1"])),
    without=st.sets(st.integers(0, 9)),
    limit=st.integers(1, 30),
)
@settings(max_examples=300, deadline=None)
def test_the_oldest_are_those_that_have_ended_and_are_not_to_be_kept(
    history: list[tuple[str, int, dict[str, str], CaptureState]],
    before: tuple[int, int] | None,
    label: tuple[str, str] | None,
    without: set[int],
    limit: int,
) -> None:
    left_out = {f"id {number}" for number in without}
    expected: list[CaptureRecord] = []
    with contextlib.closing(tables()) as db:
        for number, (camera, time_ns, labels, state) in enumerate(history):
            record = ended(CaptureRecord(f"id {number}", camera, time_ns, labels=labels), state)
            rows.add_capture(db, record)
            young = before is not None and (time_ns >= before[0] or number + 1 >= before[1])
            pinned = label and label[0] in labels and label[1] in ("", labels[label[0]])
            if state in ENDED and not young and not pinned and record.capture_id not in left_out:
                expected.append(record)
        found = rows.oldest(db, before=before, without_label=label, without=left_out, limit=limit)
    if before is None:
        assert found == expected[:limit], "those that came first"
    else:
        assert len(found) == min(limit, len(expected))
        assert all(record in expected for record in found), "which of them is of no matter"


class Captures(RuleBasedStateMachine):
    """The tables, and a list of all records in the order in which they were added."""

    def __init__(self) -> None:
        super().__init__()
        self.db = tables()
        self.all: dict[str, tuple[int, CaptureRecord]] = {}
        self.added = 0

    def teardown(self) -> None:
        self.db.close()

    @property
    def records(self) -> list[CaptureRecord]:
        return [record for _, record in self.all.values()]

    def positions(self) -> list[tuple[tuple[int, int], CaptureRecord]]:
        found = [((record.create_time_ns, number), record) for number, record in self.all.values()]
        return sorted(found, key=lambda each: each[0])

    @rule(camera=st.sampled_from(CAMERAS), time_ns=TIMES, labels=LABELS, request=st.booleans())
    def add(self, camera: str, time_ns: int, labels: dict[str, str], request: bool) -> None:
        self.added += 1
        request_id = f"request {self.added}" if request else ""
        record = CaptureRecord(f"id {self.added}", camera, time_ns, request_id, labels=labels)
        rows.add_capture(self.db, record)
        self.all[record.capture_id] = self.added, record

    @rule(data=st.data(), state=st.sampled_from(CaptureState), size_bytes=st.integers(1, 100))
    def change(self, data: st.DataObject, state: CaptureState, size_bytes: int) -> None:
        if self.all:
            number, record = self.all[data.draw(st.sampled_from(sorted(self.all)))]
            record = ended(record, state, size_bytes)
            rows.update_capture(self.db, record)
            self.all[record.capture_id] = number, record

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if self.all:
            capture_id = data.draw(st.sampled_from(sorted(self.all)))
            rows.delete_capture(self.db, capture_id)
            del self.all[capture_id]
        rows.delete_capture(self.db, "unknown")

    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        self.db.execute("SAVEPOINT job")
        added, kept = self.added, dict(self.all)
        for name in data.draw(st.lists(st.sampled_from(["add", "change", "delete"]), max_size=3)):
            if name == "add":
                self.add("left", data.draw(TIMES), data.draw(LABELS), request=True)
            elif name == "change":
                self.change(data, data.draw(st.sampled_from(CaptureState)), 7)
            else:
                self.delete(data)
        self.db.execute("ROLLBACK TO job")
        self.db.execute("RELEASE job")
        self.added, self.all = added, kept

    @invariant()
    def sums_and_lists_are_right(self) -> None:
        images = {record.capture_id: record.image for record in self.records if record.image}
        assert rows.total_bytes(self.db) == sum(image.size_bytes for image in images.values())
        assert rows.image_paths(self.db) == {id_: [image.path] for id_, image in images.items()}
        running = [record for _, record in self.positions() if record.state not in ENDED]
        assert rows.running(self.db) == running

    @invariant()
    def no_tag_is_left_of_what_is_gone(self) -> None:
        ended = [record for record in self.records if record.state in ENDED]
        tags = sum(3 * len(record.labels) for record in ended)
        assert self.db.execute("SELECT count(*) FROM label_tags").fetchone() == (tags,)

    @invariant()
    def each_is_found_by_its_id_and_by_its_request_once_it_has_succeeded(self) -> None:
        for record in self.records:
            assert rows.capture(self.db, record.capture_id) == record
            for label in record.labels.items():
                asked = Filter(record.camera, dict([label]), states=[record.state])
                page, _ = rows.page(self.db, asked, before=None, limit=100)
                assert record in [each for _, each in page]
            succeeded = record.request_id and record.state is CaptureState.SUCCEEDED
            found = rows.by_request(self.db, record.camera, record.request_id)
            assert found == (record if succeeded else None)


class Events(RuleBasedStateMachine):
    """The events, and a list of them."""

    def __init__(self) -> None:
        super().__init__()
        self.db = tables()
        self.kept: list[EventRecord] = []
        self.last = 0

    def teardown(self) -> None:
        self.db.close()

    @rule(camera=st.sampled_from(CAMERAS), time_ns=TIMES)
    def add(self, camera: str, time_ns: int) -> None:
        event = event_queries.add_event(self.db, EventRecord(EventType.QUEUED, time_ns, camera))
        self.last += 1
        assert event.sequence == self.last, "no hole, whatever was undone or deleted"
        self.kept.append(event)

    @rule(count=st.integers(1, 3))
    def undo(self, count: int) -> None:
        self.db.execute("SAVEPOINT job")
        for _ in range(count):
            event_queries.add_event(self.db, EventRecord(EventType.QUEUED, 1, "left"))
        self.db.execute("ROLLBACK TO job")
        self.db.execute("RELEASE job")

    @rule(
        before=st.none() | TIMES,
        keep=st.none() | st.integers(0, 5),
        limit=st.integers(1, 4),
        young=st.integers(1, 12),
    )
    def trim(self, before: int | None, keep: int | None, limit: int, young: int) -> None:
        old = next(
            (
                n
                for n, event in enumerate(self.kept)
                if before is None or event.time_ns >= before or event.sequence >= young
            ),
            len(self.kept),
        )
        surplus = 0 if keep is None else len(self.kept) - keep
        count = min(max(old, surplus), limit)
        gone = event_queries.trim_events(
            self.db, before_time_ns=before, keep=keep, limit=limit, young=young
        )
        assert gone == count
        del self.kept[:count]

    @rule(
        after=st.integers(0, 12),
        camera=st.sampled_from(["", *CAMERAS]),
        limit=st.integers(1, 4),
        max_bytes=st.just(math.inf) | st.integers(0, 150),
    )
    def read(self, after: int, camera: str, limit: int, max_bytes: float) -> None:
        expected = [
            event for event in self.kept if event.sequence > after and camera in ("", event.camera)
        ]
        found, more = event_queries.events(
            self.db, after=after, camera=camera, limit=limit, max_bytes=max_bytes
        )
        assert found == expected[: len(found)]
        fit = itertools.accumulate(len(event.to_json()) for event in expected[:limit])
        assert len(found) == max(min(1, len(expected)), sum(size <= max_bytes for size in fit))
        assert more or len(found) == len(expected)

    @invariant()
    def the_span_is_that_of_the_list(self) -> None:
        first = self.kept[0].sequence if self.kept else self.last + 1
        assert event_queries.event_span(self.db) == (first, self.last)


TestCaptures = Captures.TestCase
TestCaptures.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestEvents = Events.TestCase
TestEvents.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_an_event_is_kept_with_all_it_says(db: Connection) -> None:
    capture = ended(CaptureRecord("id", "left", 1, labels={"a": "1"}), CaptureState.SUCCEEDED)
    event = EventRecord(
        EventType.RETRYING,
        5,
        "left",
        "id",
        "request",
        attempt=2,
        progress_percent=0,
        queue_position=3,
        capture=capture,
        failure=Failure("REASON", "message", {"key": "value"}, retry_after_s=0.5),
    )
    assert event_queries.events(db, after=0, camera="", limit=9)[0] == []
    added = event_queries.add_event(db, event)
    assert event_queries.events(db, after=0, camera="", limit=9)[0] == [added]
    assert added == dataclasses.replace(event, sequence=1)


def test_a_capture_is_added_once(db: Connection) -> None:
    rows.add_capture(db, CaptureRecord("id", "left", 1))
    with pytest.raises(sqlite3.IntegrityError):
        rows.add_capture(db, CaptureRecord("id", "right", 2))


def test_a_capture_that_is_not_there_cannot_be_changed(db: Connection) -> None:
    with pytest.raises(LookupError, match="'id'"):
        rows.update_capture(db, CaptureRecord("id", "left", 1))


def test_under_one_request_id_one_capture_of_a_camera_succeeds(db: Connection) -> None:
    def add(capture_id: str, camera: str, request_id: str, state: CaptureState) -> CaptureRecord:
        record = ended(CaptureRecord(capture_id, camera, 1, request_id), state)
        rows.add_capture(db, record)
        return record

    add("failed", "left", "request", CaptureState.FAILED)
    add("cancelled", "left", "request", CaptureState.CANCELLED)
    assert rows.by_request(db, "left", "request") is None
    kept = add("succeeded", "left", "request", CaptureState.SUCCEEDED)
    other = add("other", "right", "request", CaptureState.SUCCEEDED)
    second = CaptureRecord("second", "left", 1, "request")
    rows.add_capture(db, second)
    with pytest.raises(sqlite3.IntegrityError):
        rows.update_capture(db, ended(second, CaptureState.SUCCEEDED))
    assert rows.by_request(db, "left", "request") == kept
    assert rows.by_request(db, "right", "request") == other
    add("without", "left", "", CaptureState.SUCCEEDED)
    add("without too", "left", "", CaptureState.SUCCEEDED)
    assert rows.by_request(db, "left", "") is None


def test_times_far_beyond_those_that_are_kept_may_be_asked_for(db: Connection) -> None:
    record = CaptureRecord("id", "left", 1)
    rows.add_capture(db, record)
    year_9999_ns = 253_402_300_799 * 10**9
    wide = Filter(start_ns=-year_9999_ns, end_ns=year_9999_ns)
    assert rows.page(db, wide, before=None, limit=9)[0] == [((1, 1), record)]
    assert rows.page(db, Filter(start_ns=year_9999_ns), before=None, limit=9)[0] == []
    assert rows.page(db, Filter(end_ns=-year_9999_ns), before=None, limit=9)[0] == []
    assert event_queries.events(db, after=2**64 - 1, camera="", limit=9)[0] == []
    found = rows.oldest(db, **NO_REASON, limit=9)
    assert found == []


def test_each_journal_has_a_secret_of_its_own(db: Connection) -> None:
    kept = rows.secret(db)
    schema.prepare(db)
    assert rows.secret(db) == kept
    assert len(kept) == 16
    with contextlib.closing(tables()) as other:
        assert rows.secret(other) != kept


HISTORY = 20_000
PAGE = 50
STEPS = 5_000
"""SQLite's steps that a page may take; a scan of the history takes 60,000, a sort twice that."""


@pytest.fixture(scope="module")
def history() -> Iterator[Connection]:
    """Give captures of which some kinds are common and some are rare, or long ago."""
    with contextlib.closing(tables()) as db:
        db.execute("BEGIN")
        for number in range(1, HISTORY + 1):
            labels = {"all": "", "half": str(number % 2)}
            if number % 1000 == 0:
                labels["rare"] = ""
            if number <= 20:
                labels["old"] = ""
            state = CaptureState.SUCCEEDED
            if number <= 100:
                state = ENDED[number % 3] if number % 10 else CaptureState.RUNNING
            camera = "seldom" if number <= 30 else f"camera {number % 4}"
            record = CaptureRecord(f"id {number}", camera, number, labels=labels)
            rows.add_capture(db, ended(record, state))
        db.execute("COMMIT")
        yield db


FOUND: list[tuple[Filter, int]] = [
    (Filter(), PAGE),
    (Filter("camera 1"), PAGE),
    (Filter("seldom"), 30),
    (Filter("unknown"), 0),
    (Filter(labels={"all": ""}), PAGE),
    (Filter(labels={"half": "1"}), PAGE),
    (Filter(labels={"rare": ""}), 20),
    (Filter(labels={"old": ""}), 20),
    (Filter(labels={"none": ""}), 0),
    (Filter(labels={"all": "", "rare": ""}), 20),
    (Filter(labels={"old": "", "all": ""}), 20),
    (Filter(labels={"all": "", "rare": "", "half": "1"}), 0),
    (Filter("camera 1", {"all": ""}), PAGE),
    (Filter("camera 1", {"half": "0"}), 0),
    (Filter("seldom", {"all": ""}), 30),
    (Filter(start_ns=100, end_ns=200), PAGE),
    (Filter(start_ns=HISTORY - 100), PAGE),
    (Filter(end_ns=HISTORY // 2), PAGE),
    (Filter(start_ns=HISTORY + 1), 0),
    (Filter(labels={"all": ""}, end_ns=200), PAGE),
    (Filter("camera 1", start_ns=100, end_ns=400), PAGE),
    *((Filter(states=[state]), count) for state, count in zip(ENDED, (50, 30, 30), strict=True)),
    (Filter(states=[CaptureState.RUNNING]), 10),
    (Filter(states=[CaptureState.FAILED, CaptureState.RUNNING]), 40),
    (Filter(states=list(CaptureState)), PAGE),
    (Filter("camera 1", states=[CaptureState.FAILED]), 6),
    (Filter("camera 1", states=[CaptureState.SUCCEEDED]), PAGE),
    (Filter(labels={"all": ""}, states=[CaptureState.CANCELLED]), 30),
    (Filter(labels={"half": "1"}, states=[CaptureState.RUNNING]), 0),
    (Filter("camera 1", {"half": "1"}, states=[CaptureState.RUNNING]), 0),
]


def steps_of(db: Connection, asked: Filter, before: tuple[int, int] | None) -> tuple[int, int]:
    """Return how many captures a page has, and about how many steps SQLite took for it."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 10
        return 0

    db.set_progress_handler(count, 10)
    try:
        return len(rows.page(db, asked, before=before, limit=PAGE)[0]), steps
    finally:
        db.set_progress_handler(None, 0)


@pytest.mark.parametrize(("asked", "count"), FOUND, ids=lambda value: repr(value)[:80])
def test_a_page_reads_what_it_shows_not_the_history(
    history: Connection, asked: Filter, count: int
) -> None:
    for before in (None, (HISTORY // 2, HISTORY // 2)):
        found, steps = steps_of(history, asked, before)
        assert steps <= STEPS
        if before is None:
            assert found == count


def test_of_two_common_labels_no_more_is_counted_than_is_worth_while(history: Connection) -> None:
    """They cost more than the others, but in a longer history they cost the same."""
    found, steps = steps_of(history, Filter(labels={"all": "", "half": "1"}), None)
    assert found == PAGE
    assert steps <= 200_000


@pytest.mark.parametrize("asked", [asked for asked, _ in FOUND], ids=lambda value: repr(value)[:80])
def test_a_page_is_found_in_the_order_of_an_index(history: Connection, asked: Filter) -> None:
    asked_of_sqlite: list[str] = []
    history.set_trace_callback(asked_of_sqlite.append)
    try:
        rows.page(history, asked, before=(HISTORY, 1), limit=PAGE)
    finally:
        history.set_trace_callback(None)
    ordered = [sql for sql in asked_of_sqlite if "ORDER BY" in sql]
    assert ordered
    for sql in ordered:
        plan = [step for *_, step in history.execute(f"EXPLAIN QUERY PLAN {sql}")]
        assert not [step for step in plan if "SCAN" in step or "TEMP B-TREE" in step]
        assert re.search(r"(INDEX|PRIMARY KEY).*\(.*create_time_ns(,number\))?<", plan[0])
