"""The journal's SQL: its tables, and what is read from and written to them.

Every function takes the connection first, and belongs into a job of `Database.write` or a query of
`Database.read`. Captures are ordered by their position, which is (create_time_ns, number).

Invariants:

- A label's row repeats what captures are chosen by, so that every filter of `page` finds a page
  in the order of one index, however long the history is.
- An event's sequence is one more than that of the event before: a transaction that is rolled back
  gives its sequences back, and events are deleted only from the front.
- `meta` has the sum of all `size_bytes`; the triggers keep it, whoever writes.
"""

import dataclasses
import json
import secrets
from collections.abc import Collection, Iterable, Mapping
from sqlite3 import Connection

from camsvc.model.records import CaptureRecord, CaptureState, EventRecord, Filter

MIGRATIONS = (
    """
    CREATE TABLE captures (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        capture_id TEXT NOT NULL UNIQUE,
        camera TEXT NOT NULL,
        request_id TEXT NOT NULL,
        state TEXT NOT NULL,
        create_time_ns INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        image_path TEXT NOT NULL,
        record TEXT NOT NULL
    );
    CREATE INDEX captures_by_state ON captures (state, create_time_ns);
    CREATE INDEX captures_by_camera ON captures (camera, state, create_time_ns);
    CREATE UNIQUE INDEX captures_by_request ON captures (camera, request_id)
        WHERE state = 'SUCCEEDED' AND request_id != '';

    CREATE TABLE labels (
        number INTEGER NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        camera TEXT NOT NULL,
        state TEXT NOT NULL,
        create_time_ns INTEGER NOT NULL,
        PRIMARY KEY (number, key)
    ) WITHOUT ROWID;
    CREATE INDEX labels_by_state ON labels (key, value, state, create_time_ns, number);
    CREATE INDEX labels_by_camera ON labels (key, value, camera, state, create_time_ns, number);

    CREATE TABLE events (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        camera TEXT NOT NULL,
        time_ns INTEGER NOT NULL,
        event TEXT NOT NULL
    );
    CREATE INDEX events_by_camera ON events (camera, sequence);

    CREATE TABLE doomed (path TEXT PRIMARY KEY) WITHOUT ROWID;

    CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('total_bytes', 0);
    CREATE TRIGGER captures_inserted AFTER INSERT ON captures BEGIN
        UPDATE meta SET value = value + new.size_bytes WHERE key = 'total_bytes';
    END;
    CREATE TRIGGER captures_resized AFTER UPDATE OF size_bytes ON captures BEGIN
        UPDATE meta SET value = value + new.size_bytes - old.size_bytes WHERE key = 'total_bytes';
    END;
    CREATE TRIGGER captures_deleted AFTER DELETE ON captures BEGIN
        UPDATE meta SET value = value - old.size_bytes WHERE key = 'total_bytes';
    END;
    """,
    """
    ALTER TABLE captures ADD COLUMN other_paths TEXT NOT NULL DEFAULT '[]';
    """,
)
"""The script at index n makes version n + 1 of version n. A script that was released stays."""

_ENDED = (CaptureState.SUCCEEDED, CaptureState.FAILED, CaptureState.CANCELLED)
_COUNTED = (100, 1_000, 10_000)
"""Labels are counted no further than this: what is chosen by it is a page's speed only."""
_MAX = 2**63 - 1
"""The largest number that SQLite has."""


def make_secret(db: Connection) -> None:
    """Make the journal's secret unless it has one."""
    db.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_bytes(16),))


def secret(db: Connection) -> bytes:
    """Return 16 random bytes that stay the same as long as the journal lives."""
    return bytes(_meta(db, "secret"))


def add_event(db: Connection, event: EventRecord) -> EventRecord:
    """Add an event, and return it with its sequence."""
    event = dataclasses.replace(event, sequence=event_span(db)[1] + 1)
    sql = "INSERT INTO events (sequence, camera, time_ns, event) VALUES (?, ?, ?, ?)"
    db.execute(sql, (event.sequence, event.camera, event.time_ns, event.to_json()))
    return event


def events(db: Connection, *, after: int, camera: str, limit: int) -> list[EventRecord]:
    """Return the first `limit` events later than sequence `after`; of all cameras with ""."""
    which = "camera = ? AND" if camera else ""
    sql = f"SELECT sequence, camera, event FROM events WHERE {which} sequence > ? ORDER BY sequence"
    values = (*([camera] if camera else []), min(after, _MAX), limit)
    return [EventRecord.from_json(*row) for row in db.execute(f"{sql} LIMIT ?", values)]


def event_span(db: Connection) -> tuple[int, int]:
    """Return the first sequence that is kept, and the last that was ever given.

    When none is kept, the first is one more than the last: (1, 0) in a new journal.
    """
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    last: int = row[0] if row else 0
    (first,) = db.execute("SELECT min(sequence) FROM events").fetchone()
    return (last + 1 if first is None else first), last


def trim_events(db: Connection, *, before_time_ns: int | None, keep: int | None, limit: int) -> int:
    """Delete the oldest events, `limit` at most, and return how many.

    An event goes when more than `keep` are left, or when it and all before it are older than
    `before_time_ns`. None is no reason.
    """
    first, last = event_span(db)
    until = first - 1 if keep is None else last - keep
    if before_time_ns is not None:
        front = "SELECT sequence, time_ns FROM events ORDER BY sequence LIMIT ?"
        sql = f"SELECT min(sequence) FROM ({front}) WHERE time_ns >= ?"
        (young,) = db.execute(sql, (limit, before_time_ns)).fetchone()
        until = max(until, last if young is None else young - 1)
    until = min(until, first + limit - 1)
    return db.execute("DELETE FROM events WHERE sequence <= ?", (until,)).rowcount


def add_capture(db: Connection, record: CaptureRecord) -> None:
    """Add a capture.

    Raises:
        sqlite3.IntegrityError: its id is taken, or it and another with its camera and request id
            have both succeeded.
    """
    sql = (
        "INSERT INTO captures (camera, request_id, state, create_time_ns, size_bytes, image_path,"
        " other_paths, record, capture_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    number = db.execute(sql, (*_columns(record), record.capture_id)).lastrowid
    assert number is not None, "an insert has one"
    _add_labels(db, number, record)


def update_capture(db: Connection, record: CaptureRecord) -> None:
    """Put a record in the place of the one with its capture id.

    Raises:
        LookupError: there is none.
        sqlite3.IntegrityError: another with its camera and request id has succeeded.
    """
    row = db.execute(
        "SELECT number FROM captures WHERE capture_id = ?", (record.capture_id,)
    ).fetchone()
    if row is None:
        raise LookupError(f"capture {record.capture_id!r} is not in the journal")
    sql = (
        "UPDATE captures SET camera = ?, request_id = ?, state = ?, create_time_ns = ?,"
        " size_bytes = ?, image_path = ?, other_paths = ?, record = ? WHERE number = ?"
    )
    db.execute(sql, (*_columns(record), row[0]))
    db.execute("DELETE FROM labels WHERE number = ?", row)
    _add_labels(db, row[0], record)


def delete_capture(db: Connection, capture_id: str) -> CaptureRecord | None:
    """Delete a capture's record and return it; None when there is none."""
    sql = "SELECT number, record FROM captures WHERE capture_id = ?"
    row = db.execute(sql, (capture_id,)).fetchone()
    if row is None:
        return None
    db.execute("DELETE FROM labels WHERE number = ?", row[:1])
    db.execute("DELETE FROM captures WHERE number = ?", row[:1])
    return CaptureRecord.from_json(row[1])


def schedule_deletion(db: Connection, paths: Iterable[str]) -> None:
    """Note that pictures have to go, as their captures have."""
    db.executemany("INSERT OR IGNORE INTO doomed VALUES (?)", ((path,) for path in paths))


def pending_deletions(db: Connection) -> list[str]:
    """Return the pictures that have to go."""
    return [path for (path,) in db.execute("SELECT path FROM doomed")]


def clear_deletions(db: Connection, paths: Iterable[str]) -> None:
    """Note that pictures have gone."""
    db.executemany("DELETE FROM doomed WHERE path = ?", ((path,) for path in paths))


def capture(db: Connection, capture_id: str) -> CaptureRecord | None:
    """Return a capture; None when there is none with this id."""
    sql = "SELECT record FROM captures WHERE capture_id = ?"
    row = db.execute(sql, (capture_id,)).fetchone()
    return CaptureRecord.from_json(row[0]) if row else None


def by_request(db: Connection, camera: str, request_id: str) -> CaptureRecord | None:
    """Return the capture that succeeded under a request id; None when none has, or for ""."""
    sql = (
        "SELECT record FROM captures WHERE camera = ? AND request_id = ?"
        " AND state = 'SUCCEEDED' AND request_id != ''"
    )
    row = db.execute(sql, (camera, request_id)).fetchone()
    return CaptureRecord.from_json(row[0]) if row else None


def running(db: Connection) -> list[CaptureRecord]:
    """Return the captures that have not ended, oldest first."""
    sql = "SELECT record FROM captures WHERE state = 'RUNNING' ORDER BY create_time_ns, number"
    return [CaptureRecord.from_json(text) for (text,) in db.execute(sql)]


def image_paths(db: Connection) -> dict[str, list[str]]:
    """Return the paths of the files of every capture that is kept, by capture id."""
    sql = "SELECT capture_id, image_path, other_paths FROM captures WHERE state = 'SUCCEEDED'"
    return {
        id_: [path, *json.loads(others)] if others != "[]" else [path]
        for id_, path, others in db.execute(sql)
    }


def total_bytes(db: Connection) -> int:
    """Return how much all pictures take."""
    return int(_meta(db, "total_bytes"))


def oldest(
    db: Connection,
    *,
    before_time_ns: int | None,
    without_label: tuple[str, str] | None,
    without: Collection[str],
    limit: int,
) -> list[CaptureRecord]:
    """Return up to `limit` captures that have ended, oldest first.

    Left out are those created at `before_time_ns` or later, those that carry `without_label`
    (a value of "" means any), and the capture ids `without`.
    """
    key, value = without_label or (None, "")  # which no label's key is
    sql = """
        SELECT create_time_ns, number, record FROM captures
        WHERE state = ? AND create_time_ns < ?
        AND capture_id NOT IN (SELECT value FROM json_each(?))
        AND NOT EXISTS (
            SELECT 1 FROM labels WHERE labels.number = captures.number
            AND labels.key = ? AND (? = '' OR labels.value = ?)
        )
        ORDER BY create_time_ns, number LIMIT ?
    """
    until = _MAX if before_time_ns is None else before_time_ns
    values = (until, json.dumps(list(without)), key, value, value, limit)
    found = [row for state in _ENDED for row in db.execute(sql, (state.value, *values))]
    return [CaptureRecord.from_json(text) for _, _, text in sorted(found)[:limit]]


def page(
    db: Connection, filter: Filter, *, before: tuple[int, int] | None, limit: int
) -> list[tuple[tuple[int, int], CaptureRecord]]:
    """Return the newest `limit` captures that a filter lets through, with their positions.

    `before` is the position after which to go on, towards older ones.

    One query each finds the newest of a state: its index has them in order.
    """
    labels = _rarest_first(db, filter.labels)
    below = before or (_MAX, _MAX)
    if filter.end_ns is not None:
        below = min(below, (filter.end_ns, 0))
    found: list[tuple[int, int]] = []
    for state in set(filter.states or CaptureState):
        found += _positions(db, filter, state, labels, below=below, limit=limit)
    found.sort(reverse=True)
    sql = "SELECT record FROM captures WHERE number = ?"
    texts = ((at, db.execute(sql, at[1:]).fetchone()[0]) for at in found[:limit])
    return [(at, CaptureRecord.from_json(text)) for at, text in texts]


def _positions(
    db: Connection,
    filter: Filter,
    state: CaptureState,
    labels: list[tuple[str, str]],
    *,
    below: tuple[int, int],
    limit: int,
) -> list[tuple[int, int]]:
    """Return the newest positions of one state that are less than `below`, newest first."""
    terms: list[tuple[str, tuple[int | str, ...]]] = [("state = ?", (state.value,))]
    if filter.camera:
        terms.append(("camera = ?", (filter.camera,)))
    if labels:
        terms.append(("key = ? AND value = ?", labels[0]))
    has = "SELECT 1 FROM labels WHERE number = asked.number AND key = ? AND value = ?"
    terms += [(f"EXISTS ({has})", label) for label in labels[1:]]
    terms.append(("(create_time_ns, number) < (?, ?)", (_storable(below[0]), below[1])))
    if filter.start_ns is not None:
        terms.append(("create_time_ns >= ?", (_storable(filter.start_ns),)))
    sql = (
        f"SELECT create_time_ns, number FROM {'labels' if labels else 'captures'} AS asked"
        f" WHERE {' AND '.join(term for term, _ in terms)}"
        " ORDER BY create_time_ns DESC, number DESC LIMIT ?"
    )
    values = [value for _, values in terms for value in values]
    return db.execute(sql, (*values, limit)).fetchall()


def _rarest_first(db: Connection, labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return labels with the rarest of them first, which is then read; the others are looked up.

    They are counted further only while none is rarer than the bound: that costs no more than
    reading the rarest.
    """
    asked = list(labels.items())
    sql = "SELECT count(*) FROM (SELECT 1 FROM labels WHERE key = ? AND value = ? LIMIT ?)"
    for bound in _COUNTED if len(asked) > 1 else ():
        counts = {label: db.execute(sql, (*label, bound)).fetchone()[0] for label in asked}
        asked.sort(key=counts.__getitem__)
        if counts[asked[0]] < bound:
            break
    return asked


def _columns(record: CaptureRecord) -> tuple[str, str, str, int, int, str, str, str]:
    """Return what `captures` has of a record beside its id, in the order of the columns."""
    chosen = (record.camera, record.request_id, record.state.value, record.create_time_ns)
    path, *others = [file.path for file in record.files] or [""]
    return (*chosen, record.size_bytes, path, json.dumps(others), record.to_json())


def _add_labels(db: Connection, number: int, record: CaptureRecord) -> None:
    chosen = (record.camera, record.state.value, record.create_time_ns)
    rows = [(number, key, value, *chosen) for key, value in record.labels.items()]
    sql = "INSERT INTO labels (number, key, value, camera, state, create_time_ns)"
    db.executemany(f"{sql} VALUES (?, ?, ?, ?, ?, ?)", rows)


def _meta(db: Connection, key: str) -> bytes | int:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    value: bytes | int = row[0]
    return value


def _storable(time_ns: int) -> int:
    """Return the time that SQLite can hold next to one, which may be of the year 9999."""
    return max(-_MAX, min(time_ns, _MAX))
