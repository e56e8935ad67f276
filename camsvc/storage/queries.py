"""The SQL of captures, labels and files that are to be deleted. The tables are in `schema`.

Every function takes the connection first, and belongs into a job of `Database.write` or a query of
`Database.read`. Captures are ordered by their position, which is (create_time_ns, number).

Invariants:

- A label's row repeats what captures are filtered by, so that every filter of `page` finds a page
  in the order of one index, however long the history is.
- `meta` has the sum of all `size_bytes`; the triggers keep it, also when another program writes.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from sqlite3 import Connection

from camsvc.model.records import CaptureRecord, CaptureState, Filter

_ENDED = (CaptureState.SUCCEEDED, CaptureState.FAILED, CaptureState.CANCELLED)
_COUNTED = (100, 1_000, 10_000)
"""Labels are counted no further than this: it decides a page's speed only."""
_MAX = 2**63 - 1
"""The largest number that SQLite has."""


def secret(db: Connection) -> bytes:
    """Return 16 random bytes that stay the same as long as the database lives."""
    return bytes(_meta(db, "secret"))


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
    _add_labels(db, db.execute(sql, (*_columns(record), record.capture_id)).lastrowid, record)


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


def delete_capture(db: Connection, capture_id: str) -> None:
    """Delete a capture's record, if there is one."""
    sql = "DELETE FROM labels WHERE number = (SELECT number FROM captures WHERE capture_id = ?)"
    db.execute(sql, (capture_id,))
    db.execute("DELETE FROM captures WHERE capture_id = ?", (capture_id,))


def schedule_deletion(db: Connection, paths: Iterable[str]) -> None:
    """Note that files are to be deleted, as their captures were."""
    db.executemany("INSERT OR IGNORE INTO doomed VALUES (?)", ((path,) for path in paths))


def pending_deletions(db: Connection) -> list[str]:
    """Return the files that are to be deleted."""
    return [path for (path,) in db.execute("SELECT path FROM doomed")]


def clear_deletions(db: Connection, paths: Iterable[str]) -> None:
    """Note that files were deleted."""
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
    """Return how many bytes all pictures take."""
    return int(_meta(db, "total_bytes"))


def oldest(
    db: Connection,
    *,
    before: tuple[int, int] | None,
    without_label: tuple[str, str] | None,
    without: Collection[str],
    limit: int,
) -> list[CaptureRecord]:
    """Return up to `limit` captures that have ended, first come first.

    With `before`, only those whose position is below both parts of it: created before that time,
    and before the capture of that number. Left out are those that carry `without_label` (a value of
    "" means any), and the capture ids `without`.
    """
    key, value = without_label or (None, "")  # which no label's key is
    # By time, an index has them; in the order in which they came, the table does.
    aged = "state = ? AND create_time_ns < ? AND +number < ?"
    which = aged if before else "state != ?"
    sql = f"""
        SELECT number, record FROM captures
        WHERE {which}
        AND capture_id NOT IN (SELECT value FROM json_each(?))
        AND NOT EXISTS (
            SELECT 1 FROM labels WHERE labels.number = captures.number
            AND labels.key = ? AND (? = '' OR labels.value = ?)
        )
        ORDER BY {"create_time_ns," if before else ""} number LIMIT ?
    """  # noqa: S608 - of nothing but constants
    states = _ENDED if before else (CaptureState.RUNNING,)
    values = (*(before or ()), json.dumps(list(without)), key, value, value, limit)
    found = [row for state in states for row in db.execute(sql, (state.value, *values))]
    return [CaptureRecord.from_json(text) for _, text in sorted(found)[:limit]]


def page(
    db: Connection, filters: Filter, *, before: tuple[int, int] | None, limit: int
) -> list[tuple[tuple[int, int], CaptureRecord]]:
    """Return the newest `limit` captures that the filters let through, with their positions.

    `before` is the position after which to go on, towards older ones.

    One query each finds the newest of a state: its index has them in order.
    """
    labels = _rarest_first(db, filters.labels)
    below = before or (_MAX, _MAX)
    if filters.end_ns is not None:
        below = min(below, (filters.end_ns, 0))
    found: list[tuple[int, int]] = []
    for state in set(filters.states or CaptureState):
        found += _positions(db, filters, state, labels, below=below, limit=limit)
    found.sort(reverse=True)
    sql = "SELECT record FROM captures WHERE number = ?"
    texts = ((at, db.execute(sql, at[1:]).fetchone()[0]) for at in found[:limit])
    return [(at, CaptureRecord.from_json(text)) for at, text in texts]


def _positions(
    db: Connection,
    filters: Filter,
    state: CaptureState,
    labels: list[tuple[str, str]],
    *,
    below: tuple[int, int],
    limit: int,
) -> list[tuple[int, int]]:
    """Return the newest positions of one state that are less than `below`, newest first."""
    terms: list[tuple[str, tuple[int | str, ...]]] = [("state = ?", (state.value,))]
    if filters.camera:
        terms.append(("camera = ?", (filters.camera,)))
    if labels:
        terms.append(("key = ? AND value = ?", labels[0]))
    has = "SELECT 1 FROM labels WHERE number = asked.number AND key = ? AND value = ?"
    terms += [(f"EXISTS ({has})", label) for label in labels[1:]]
    terms.append(("(create_time_ns, number) < (?, ?)", (_storable(below[0]), below[1])))
    if filters.start_ns is not None:
        terms.append(("create_time_ns >= ?", (_storable(filters.start_ns),)))
    words = (  # of nothing but constants; what a client has sent is in the values
        "SELECT create_time_ns, number FROM",
        "labels" if labels else "captures",
        "AS asked WHERE",
        " AND ".join(term for term, _ in terms),
        "ORDER BY create_time_ns DESC, number DESC LIMIT ?",
    )
    values = [value for _, values in terms for value in values]
    return db.execute(" ".join(words), (*values, limit)).fetchall()


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
    """Return what `captures` has of a record besides its id, in the order of the columns."""
    keys = (record.camera, record.request_id, record.state.value, record.create_time_ns)
    path, *others = [file.path for file in record.files] or [""]
    return (*keys, record.size_bytes, path, json.dumps(others), record.to_json())


def _add_labels(db: Connection, number: int | None, record: CaptureRecord) -> None:
    repeated = (record.camera, record.state.value, record.create_time_ns)
    rows = [(number, key, value, *repeated) for key, value in record.labels.items()]
    sql = (
        "INSERT INTO labels (number, key, value, camera, state, create_time_ns)"
        " VALUES (?, ?, ?, ?, ?, ?)"
    )
    db.executemany(sql, rows)


def _meta(db: Connection, key: str) -> bytes | int:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    value: bytes | int = row[0]
    return value


def _storable(time_ns: int) -> int:
    """Return the time that SQLite can hold next to one, which may be of the year 9999."""
    return max(-_MAX, min(time_ns, _MAX))
