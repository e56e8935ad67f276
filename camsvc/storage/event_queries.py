"""The SQL of events; each function belongs into a job or a query, as those of `queries` do.

The labels of a capture that has ended are those of its row, which do not change; when that is
deleted, its event gets them.

Invariant: an event's sequence is one more than that of the event before, but for the gaps that
`add_gap` has noted. A transaction that is rolled back gives its sequences back, and events are
deleted only from the front.
"""

import dataclasses
import math
from sqlite3 import Connection

from camsvc.model.records import EventRecord
from camsvc.storage import labels

_LARGEST = 2**63 - 1
"""The largest number that SQLite has."""

_SELECT = (
    "SELECT sequence, events.camera, event, coalesce(events.labels, captures.labels)"
    " FROM events LEFT JOIN captures ON captures.number = events.capture WHERE sequence > ?"
)
_OF_ALL = f"{_SELECT} ORDER BY sequence LIMIT ?"
_OF_ONE = f"{_SELECT} AND events.camera = ? ORDER BY sequence LIMIT ?"
_FIRST_YOUNG = (
    "SELECT min(sequence) FROM (SELECT sequence, time_ns FROM events ORDER BY sequence LIMIT ?)"
    " WHERE time_ns >= ?"
)


_TOTAL_BYTES = "SELECT value FROM meta WHERE key = 'event_bytes'"
"""Kept by triggers."""
_OLDEST_SIZES = (
    "SELECT sequence, length(event) + coalesce(length(labels), 0) FROM events"
    " ORDER BY sequence LIMIT ?"
)


def add_event(db: Connection, event: EventRecord) -> EventRecord:
    """Add an event, and return it with its sequence."""
    event = dataclasses.replace(event, sequence=event_span(db)[1] + 1)
    text, number, packed = event.to_json(), None, None
    if event.capture is not None:
        sql = "SELECT number FROM captures WHERE capture_id = ?"
        (number,) = db.execute(sql, (event.capture.capture_id,)).fetchone() or (None,)
        packed = None if number else labels.pack(event.capture.labels)
        bare = dataclasses.replace(event.capture, labels={})
        text = dataclasses.replace(event, capture=bare).to_json()
    sql = (
        "INSERT INTO events (sequence, camera, time_ns, event, capture, labels)"
        " VALUES (?, ?, ?, ?, ?, ?)"
    )
    db.execute(sql, (event.sequence, event.camera, event.time_ns, text, number, packed))
    return event


def add_gap(db: Connection, missing: int) -> int:
    """Pass over as many sequences as events are missing; return the last of them."""
    last = event_span(db)[1] + missing
    sql = "UPDATE sqlite_sequence SET seq = ? WHERE name = 'events'"
    if not db.execute(sql, (last,)).rowcount:
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (last,))
    db.execute("INSERT INTO event_gaps VALUES (?)", (last,))
    return last


def events(
    db: Connection, *, after: int, camera: str, limit: int, max_bytes: float = math.inf
) -> tuple[list[EventRecord], bool]:
    """Return the first events later than sequence `after`; of all cameras with "".

    They are `limit` at most, and no more than take `max_bytes` here, but one at least. Also return
    whether there may be more.
    """
    after = min(after, _LARGEST)
    which = (after, camera, limit) if camera else (after, limit)
    found: list[EventRecord] = []
    for sequence, of_camera, text, packed in db.execute(_OF_ONE if camera else _OF_ALL, which):
        max_bytes -= len(text) + len(packed or b"")
        if found and max_bytes < 0:
            return found, True
        found.append(_event(sequence, of_camera, text, packed))
    return found, len(found) == limit


def _event(sequence: int, camera: str, text: str, packed: bytes | None) -> EventRecord:
    event = EventRecord.from_json(sequence, camera, text)
    if event.capture is None or not packed:
        return event
    capture = dataclasses.replace(event.capture, labels=labels.unpack(packed))
    return dataclasses.replace(event, capture=capture)


def gaps(db: Connection, *, after: int, until: int) -> list[int]:
    """Return the last missing sequence of each gap that ends later than `after`, up to `until`."""
    sql = "SELECT last_missing FROM event_gaps WHERE last_missing > ? AND last_missing <= ?"
    return sorted(last for (last,) in db.execute(sql, (min(after, _LARGEST), until)))


def event_span(db: Connection) -> tuple[int, int]:
    """Return the first sequence that is kept, and the last that was ever given or passed over.

    When none is kept, the first is one more than the last: (1, 0) in a new database.
    """
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    last: int = row[0] if row else 0
    (first,) = db.execute("SELECT min(sequence) FROM events").fetchone()
    return (last + 1 if first is None else first), last


def trim_events(
    db: Connection,
    *,
    before_time_ns: int | None,
    keep: int | None,
    limit: int,
    young: int = _LARGEST,
    keep_bytes: float = math.inf,
) -> int:
    """Delete the oldest events, `limit` at most, and return how many.

    An event goes when more than `keep` are left, when all together take more than `keep_bytes`, or
    when it and all before it are older than `before_time_ns`. None stands for no bound. Those from
    the sequence `young` on are not old, whatever their times say.
    """
    first, last = event_span(db)
    until = first - 1 if keep is None else last - keep
    if before_time_ns is not None:
        (first_young,) = db.execute(_FIRST_YOUNG, (limit, before_time_ns)).fetchone()
        until = max(until, min(last if first_young is None else first_young - 1, young - 1))
    (total_bytes,) = db.execute(_TOTAL_BYTES).fetchone()
    for sequence, size_bytes in db.execute(_OLDEST_SIZES, (limit,)):
        if total_bytes <= keep_bytes:
            break
        total_bytes -= size_bytes
        until = max(until, sequence)
    until = min(until, first + limit - 1)
    db.execute("DELETE FROM event_gaps WHERE last_missing <= ?", (until,))
    return db.execute("DELETE FROM events WHERE sequence <= ?", (until,)).rowcount
