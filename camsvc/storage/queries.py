"""The SQL of captures, labels and files that are to be deleted. The tables are in `schema`.

Every function takes the connection first, and belongs into a job of `Database.write` or a query of
`Database.read`. Captures are ordered by their position, which is (create_time_ns, number).

Invariants:

- A tag's row repeats what captures are filtered by, so that every filter of `page` finds a page in
  the order of one index, however long the history is. A RUNNING capture has no tags yet: there are
  few of them, and each tag would be written and deleted again.
- `meta` has the sum of all `size_bytes`; the triggers keep it, also when another program writes.
"""

import dataclasses
import json
import math
from collections.abc import Collection, Iterable
from sqlite3 import Connection

from camsvc.model.records import CaptureRecord, CaptureState, Filter
from camsvc.storage import labels

_ENDED = (CaptureState.SUCCEEDED, CaptureState.FAILED, CaptureState.CANCELLED)
_COUNTED = (100, 1_000, 10_000)
"""Labels are counted no further than this: it decides a page's speed only."""
_MAX = 2**63 - 1
"""The largest number that SQLite has."""
_IN_ORDER = (  # that of the numbers, as CROSS JOIN reads what is left of it first
    "SELECT create_time_ns, number, record, labels FROM json_each(?) AS asked"
    " CROSS JOIN captures ON number = asked.value"
)
_HAS_TAG = (
    "EXISTS (SELECT 1 FROM label_tags AS l WHERE l.tag = ? AND l.state = asked.state"
    " AND l.create_time_ns = asked.create_time_ns AND l.number = asked.number)"
)


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
        " other_paths, record, labels, capture_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    number = db.execute(sql, (*_columns(record), record.capture_id)).lastrowid
    _add_tags(db, number, record)


def update_capture(db: Connection, record: CaptureRecord) -> None:
    """Put a record in the place of the one with its capture id.

    Raises:
        LookupError: there is none.
        sqlite3.IntegrityError: another with its camera and request id has succeeded.
    """
    number = _delete_tags(db, record.capture_id)
    if number is None:
        raise LookupError(f"capture {record.capture_id!r} is not in the journal")
    sql = (
        "UPDATE captures SET camera = ?, request_id = ?, state = ?, create_time_ns = ?,"
        " size_bytes = ?, image_path = ?, other_paths = ?, record = ?, labels = ? WHERE number = ?"
    )
    db.execute(sql, (*_columns(record), number))
    _add_tags(db, number, record)


def delete_capture(db: Connection, capture_id: str) -> None:
    """Delete a capture's record, if there is one. The event of its end has its labels then."""
    number = _delete_tags(db, capture_id)
    sql = (
        "UPDATE events SET labels = (SELECT labels FROM captures WHERE number = events.capture)"
        " WHERE capture = ?"
    )
    db.execute(sql, (number,))
    db.execute("DELETE FROM captures WHERE number = ?", (number,))


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
    sql = "SELECT record, labels FROM captures WHERE capture_id = ?"
    row = db.execute(sql, (capture_id,)).fetchone()
    return _record(*row) if row else None


def by_request(db: Connection, camera: str, request_id: str) -> CaptureRecord | None:
    """Return the capture that succeeded under a request id; None when none has, or for ""."""
    sql = (
        "SELECT record, labels FROM captures WHERE camera = ? AND request_id = ?"
        " AND state = 'SUCCEEDED' AND request_id != ''"
    )
    row = db.execute(sql, (camera, request_id)).fetchone()
    return _record(*row) if row else None


def running(db: Connection) -> list[CaptureRecord]:
    """Return the captures that have not ended, oldest first."""
    sql = (
        "SELECT record, labels FROM captures WHERE state = 'RUNNING'"
        " ORDER BY create_time_ns, number"
    )
    return [_record(*row) for row in db.execute(sql)]


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


def journal_bytes(db: Connection) -> int:
    """Return how many bytes the database takes, without its log and what is free in it."""
    pragmas = ("page_count", "freelist_count", "page_size")
    pages, free, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas)
    return int((pages - free) * size)


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
    # By time, an index has them; in the order in which they came, the table does.
    aged = "state = ? AND create_time_ns < ? AND +number < ?"
    which = aged if before else "state != ?"
    sql = f"""
        SELECT number, record, labels FROM captures AS asked
        WHERE {which}
        AND capture_id NOT IN (SELECT value FROM json_each(?))
        AND NOT {_HAS_TAG}
        ORDER BY {"create_time_ns," if before else ""} number LIMIT ?
    """  # noqa: S608 - of nothing but constants
    states = _ENDED if before else (CaptureState.RUNNING,)
    key, value = without_label or ("", None)
    left_out = labels.tag(key, value or None) if without_label else b""
    values = (*(before or ()), json.dumps(list(without)), left_out, limit)
    found = [row for state in states for row in db.execute(sql, (state.value, *values))]
    return [_record(*row[1:]) for row in sorted(found)[:limit]]


def page(
    db: Connection,
    filters: Filter,
    *,
    before: tuple[int, int] | None,
    limit: int,
    max_bytes: float = math.inf,
) -> tuple[list[tuple[tuple[int, int], CaptureRecord]], bool]:
    """Return the newest captures that the filters let through, with their positions.

    They are `limit` at most, and no more than take `max_bytes` here, but one at least. Also return
    whether there are more. `before` is the position after which to go on, towards older ones.

    One query each finds the newest of a state: its index has them in order.
    """
    below = before or (_MAX, _MAX)
    if filters.end_ns is not None:
        below = min(below, (filters.end_ns, 0))
    asked = _rarest_first(db, filters)
    positions: list[tuple[int, int]] = []
    for state in set(filters.states or CaptureState):
        positions += _positions(db, filters, state, asked, below=below, limit=limit + 1)
    positions.sort(reverse=True)
    found: list[tuple[tuple[int, int], CaptureRecord]] = []
    numbers = json.dumps([number for _, number in positions[:limit]])
    for time_ns, number, text, packed in db.execute(_IN_ORDER, (numbers,)):
        max_bytes -= len(text) + len(packed)
        if found and max_bytes < 0:
            break
        found.append(((time_ns, number), _record(text, packed)))
    return found, len(found) < len(positions)


def _positions(
    db: Connection,
    filters: Filter,
    state: CaptureState,
    tags: list[bytes],
    *,
    below: tuple[int, int],
    limit: int,
) -> list[tuple[int, int]]:
    """Return the newest positions of one state that are less than `below`, newest first."""
    terms: list[tuple[str, tuple[int | str | bytes, ...]]] = [("state = ?", (state.value,))]
    tagged = tags and state is not CaptureState.RUNNING
    if tagged:
        terms.append(("tag = ?", (tags[0],)))
        terms += [(_HAS_TAG, (tag,)) for tag in tags[1:]]
    elif filters.camera:
        terms.append(("camera = ?", (filters.camera,)))
    terms.append(("(create_time_ns, number) < (?, ?)", (_storable(below[0]), below[1])))
    if filters.start_ns is not None:
        terms.append(("create_time_ns >= ?", (_storable(filters.start_ns),)))
    words = (  # of nothing but constants; what a client has sent is in the values
        "SELECT create_time_ns, number" + ("" if tagged else ", labels"),
        "FROM label_tags" if tagged else "FROM captures",
        "AS asked WHERE",
        " AND ".join(term for term, _ in terms),
        "ORDER BY create_time_ns DESC, number DESC LIMIT ?",
    )
    values = [value for _, values in terms for value in values]
    if tagged or not tags:
        found = db.execute(" ".join(words), (*values, limit))
        return [(time_ns, number) for time_ns, number, *_ in found]
    every = db.execute(" ".join(words), (*values, -1))
    wanted = filters.labels.items()
    return [(time, n) for time, n, packed in every if wanted <= labels.unpack(packed).items()]


def _rarest_first(db: Connection, filters: Filter) -> list[bytes]:
    """Return the tags of the labels with the rarest of them first, which is then read.

    The others are looked up. They are counted further only while none is rarer than the bound:
    that costs no more than reading the rarest.
    """
    asked = [labels.tag(key, value, filters.camera) for key, value in filters.labels.items()]
    sql = "SELECT count(*) FROM (SELECT 1 FROM label_tags WHERE tag = ? LIMIT ?)"
    for bound in _COUNTED if len(asked) > 1 else ():
        counts = {tag: db.execute(sql, (tag, bound)).fetchone()[0] for tag in asked}
        asked.sort(key=counts.__getitem__)
        if counts[asked[0]] < bound:
            break
    return asked


def _record(text: str, packed: bytes) -> CaptureRecord:
    """Return the record of a row of `captures`."""
    plain = json.loads(text)
    plain["labels"] = labels.unpack(packed)
    return CaptureRecord.from_plain(plain)


def _columns(record: CaptureRecord) -> tuple[str, str, str, int, int, str, str, str, bytes]:
    """Return what `captures` has of a record besides its id, in the order of the columns."""
    keys = (record.camera, record.request_id, record.state.value, record.create_time_ns)
    path, *others = [file.path for file in record.files] or [""]
    text = dataclasses.replace(record, labels={}).to_json()
    packed = labels.pack(record.labels)
    return (*keys, record.size_bytes, path, json.dumps(others), text, packed)


def _add_tags(db: Connection, number: int | None, record: CaptureRecord) -> None:
    if record.state is not CaptureState.RUNNING:
        at = (record.state.value, record.create_time_ns, number)
        rows = [(tag, *at) for tag in labels.tags(record.labels, record.camera)]
        db.executemany("INSERT INTO label_tags VALUES (?, ?, ?, ?)", rows)


def _delete_tags(db: Connection, capture_id: str) -> int | None:
    """Delete the tags of a capture, and return its number; None: there is no such capture."""
    sql = "SELECT camera, labels, state, create_time_ns, number FROM captures WHERE capture_id = ?"
    row = db.execute(sql, (capture_id,)).fetchone()
    if row is None:
        return None
    camera, packed, *at = row
    rows = [(tag, *at) for tag in labels.tags(labels.unpack(packed), camera)]
    sql = "DELETE FROM label_tags WHERE (tag, state, create_time_ns, number) = (?, ?, ?, ?)"
    db.executemany(sql, rows)
    number: int = at[-1]
    return number


def _meta(db: Connection, key: str) -> bytes | int:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    value: bytes | int = row[0]
    return value


def _storable(time_ns: int) -> int:
    """Return the time that SQLite can hold next to one, which may be of the year 9999."""
    return max(-_MAX, min(time_ns, _MAX))
