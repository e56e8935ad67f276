"""Labels take in the journal what their text takes, whatever it is, and are found all the same."""

import contextlib
import dataclasses
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camsvc.model.errors import CaptureNotFound
from camsvc.model.records import CaptureRecord, CaptureState, EventRecord, EventType, Filter
from camsvc.storage import event_queries, labels
from camsvc.storage import queries as rows
from camsvc.storage.archive import Archive
from camsvc.storage.schema import connect
from tests.support.keeping import Folder, capture, keep, taken
from tests.support.old_journal import make_old_journal

MOST_BYTES = 16 << 10
CAPTURES = 25
TEXTS = st.text(max_size=20) | st.text("\0\1\2a", max_size=9)


@given(st.dictionaries(TEXTS, TEXTS))
def test_what_was_packed_is_unpacked(given: dict[str, str]) -> None:
    packed = labels.pack(given)
    assert labels.unpack(packed) == given
    text_bytes = sum(len(text.encode()) for label in given.items() for text in label)
    assert len(packed) <= 2 * (text_bytes + len(given))


@given(st.lists(st.tuples(TEXTS, st.none() | TEXTS, TEXTS), unique=True))
def test_no_two_kinds_of_labels_have_one_tag(asked: list[tuple[str, str | None, str]]) -> None:
    valued = [each for each in asked if each[1] is not None or not each[2]]
    assert len({labels.tag(*each) for each in valued}) == len(valued)


def labelled(capture_id: str, given: dict[str, str], camera: str = "left") -> CaptureRecord:
    """Return a capture that is under way."""
    return dataclasses.replace(capture(capture_id, camera=camera), labels=given)


def filled(count: int, piece: str, number: int) -> dict[str, str]:
    """Return so many labels of 16 KiB in all, of other values for each number."""
    found = {}
    for n in range(count):
        key = f"k{n:02}"
        room = MOST_BYTES // count - len(key)
        start = f"{number}-{n}-"
        found[key] = start + piece * ((room - len(start)) // len(piece.encode()))
    return found


@pytest.mark.parametrize(
    ("piece", "count"), [("x", 64), ("\0", 64), ("\x01", 17), ('"', 17), ("\U0001f4f7", 40)]
)
async def test_the_journal_grows_by_little_more_than_the_labels(
    folder: Folder, piece: str, count: int
) -> None:
    """With all that goes with a capture, whatever its labels are, also where it has gone again."""
    archive = await Archive.open(folder.path)
    await archive.close()
    journal = folder.path / "journal.sqlite3"
    before = journal.stat().st_size
    archive = await Archive.open(folder.path)
    try:
        for n in range(CAPTURES):
            await keep(archive, labelled(f"c{n}", filled(count, piece, n)))
    finally:
        await archive.close()
    kept = (journal.stat().st_size - before) / CAPTURES
    assert kept <= 3 * MOST_BYTES + 4096
    archive = await Archive.open(folder.path)
    try:
        for n in range(CAPTURES):
            await archive.delete(f"c{n}")
    finally:
        await archive.close()
    assert journal.stat().st_size - before <= CAPTURES * kept + (64 << 10)


async def test_an_event_has_its_captures_labels_before_and_after_that_is_deleted(
    folder: Folder,
) -> None:
    archive = await Archive.open(folder.path)
    kept = await keep(archive, labelled("a", {"first": "1", "odd": "a\0b"}))
    before = await anext(archive.events.follow("", 0))
    assert isinstance(before, EventRecord)
    assert before.capture == kept
    for _ in range(2):
        await archive.close()
        archive = await Archive.open(folder.path)
        assert await anext(archive.events.follow("", 0)) == before
        with contextlib.suppress(CaptureNotFound):
            await archive.delete("a")
    await archive.close()


OLD = {"scan": "42", "odd": 'a\0b"\\ü\U0001f4f7', "": ""}


def test_a_journal_of_the_version_before_has_all_it_had(tmp_path: Path) -> None:
    """Captures, their labels, and events, also of a capture that was deleted; and a NaN."""
    path = tmp_path / "journal.sqlite3"
    done = taken(labelled("done", OLD), b"0123456789")
    done = dataclasses.replace(
        done, state=CaptureState.SUCCEEDED, controls={"gain": float("inf"), "iso": 100}
    )
    other = dataclasses.replace(done, capture_id="other", camera="right", labels={"scan": "42"})
    gone = dataclasses.replace(done, capture_id="gone")
    running = labelled("running", {"scan": "42"})
    events = [
        EventRecord(EventType.STARTED, 1, "left", "done"),
        EventRecord(EventType.SUCCEEDED, 2, "left", "done", capture=done),
        EventRecord(EventType.SUCCEEDED, 3, "left", "gone", capture=gone),
    ]
    make_old_journal(path, [done, other, running], events)
    writer, reader = connect(path, 2)
    with closing(writer), closing(reader):
        found, more = event_queries.events(reader, after=0, camera="", limit=9)
        assert [dataclasses.replace(event, sequence=0) for event in found] == events
        assert not more
        for record in (done, other, running):
            assert rows.capture(reader, record.capture_id) == record

        def found_by(asked: Filter) -> list[str]:
            page, _ = rows.page(reader, asked, before=None, limit=9)
            return sorted(record.capture_id for _, record in page)

        assert found_by(Filter(labels={"scan": "42"})) == ["done", "other", "running"]
        assert found_by(Filter("left", labels=OLD)) == ["done"]
        assert found_by(Filter(labels={"scan": "4"})) == []
        pinned = rows.oldest(reader, before=None, without_label=("odd", ""), without=(), limit=9)
        assert [record.capture_id for record in pinned] == ["other"]
        assert rows.total_bytes(reader) == 20
        rows.delete_capture(writer, "done")
        rows.update_capture(writer, dataclasses.replace(running, state=CaptureState.FAILED))
        assert found_by(Filter(labels={"scan": "42"}, states=[CaptureState.FAILED])) == ["running"]
        assert found_by(Filter(labels=OLD)) == []
        again, _ = event_queries.events(reader, after=0, camera="", limit=9)
        assert again == found, "an event stays what it was"
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
