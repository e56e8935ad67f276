"""The SQL of events; each function belongs into a job or a query, as those of `queries` do.

Invariant: an event's sequence is one more than that of the event before, but for the gaps that
`add_gap` has noted. A transaction that is rolled back gives its sequences back, and events are
deleted only from the front.
"""

import dataclasses
from sqlite3 import Connection

from camsvc.model.records import EventRecord

_LARGEST = 2**63 - 1
"""The largest number that SQLite has."""

_OF_ALL = "SELECT sequence, camera, event FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?"
_OF_ONE = (
    "SELECT sequence, camera, event FROM events WHERE sequence > ? AND camera = ?"
    " ORDER BY sequence LIMIT ?"
)
_FIRST_YOUNG = (
    "SELECT min(sequence) FROM (SELECT sequence, time_ns FROM events ORDER BY sequence LIMIT ?)"
    " WHERE time_ns >= ?"
)


def add_event(db: Connection, event: EventRecord) -> EventRecord:
    """Add an event, and return it with its sequence."""
    event = dataclasses.replace(event, sequence=event_span(db)[1] + 1)
    sql = "INSERT INTO events (sequence, camera, time_ns, event) VALUES (?, ?, ?, ?)"
    db.execute(sql, (event.sequence, event.camera, event.time_ns, event.to_json()))
    return event


def add_gap(db: Connection, missing: int) -> int:
    """Pass over as many sequences as events are missing; return the last of them."""
    last = event_span(db)[1] + missing
    sql = "UPDATE sqlite_sequence SET seq = ? WHERE name = 'events'"
    if not db.execute(sql, (last,)).rowcount:
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (last,))
    db.execute("INSERT INTO event_gaps VALUES (?)", (last,))
    return last


def events(db: Connection, *, after: int, camera: str, limit: int) -> list[EventRecord]:
    """Return the first `limit` events later than sequence `after`; of all cameras with ""."""
    after = min(after, _LARGEST)
    if camera:
        found = db.execute(_OF_ONE, (after, camera, limit))
    else:
        found = db.execute(_OF_ALL, (after, limit))
    return [EventRecord.from_json(*row) for row in found]


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
) -> int:
    """Delete the oldest events, `limit` at most, and return how many.

    An event goes when more than `keep` are left, or when it and all before it are older than
    `before_time_ns`. None stands for no bound. Those from the sequence `young` on are not old,
    whatever their times say.
    """
    first, last = event_span(db)
    until = first - 1 if keep is None else last - keep
    if before_time_ns is not None:
        (first_young,) = db.execute(_FIRST_YOUNG, (limit, before_time_ns)).fetchone()
        until = max(until, min(last if first_young is None else first_young - 1, young - 1))
    until = min(until, first + limit - 1)
    db.execute("DELETE FROM event_gaps WHERE last_missing <= ?", (until,))
    return db.execute("DELETE FROM events WHERE sequence <= ?", (until,)).rowcount
