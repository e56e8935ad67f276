"""The SQL of ages; see `age_floors`. A function belongs into a job or a query, as in `queries`."""

import json
from collections.abc import Sequence
from sqlite3 import Connection

from camsvc.model.records import CaptureState
from camsvc.storage.age_floors import Floor


def floors(db: Connection) -> list[Floor]:
    """Return what was kept last, else what the newest capture says."""
    row = db.execute("SELECT value FROM meta WHERE key = 'age_floors'").fetchone()
    if row is not None:
        return [(number, time_ns) for number, time_ns in json.loads(row[0])]
    sql = "SELECT number, create_time_ns FROM captures ORDER BY number DESC LIMIT 1"
    return db.execute(sql).fetchall()


def keep_floors(db: Connection, floors: Sequence[Floor]) -> None:
    """Keep floors in the place of those before."""
    sql = "INSERT OR REPLACE INTO meta VALUES ('age_floors', ?)"
    db.execute(sql, (json.dumps(floors),))


def last_number(db: Connection) -> int:
    """Return the number of the newest capture that there ever was; 0: there was none."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'captures'").fetchone()
    return int(row[0]) if row else 0


def first_created(db: Connection, *, since_ns: int, until_ns: int) -> int | None:
    """Return the lowest number of a capture created between two times; None: there is none."""
    # An index has the states' captures by time; `+` keeps SQLite from reading the table instead.
    sql = "SELECT min(+number) FROM captures WHERE state = ? AND create_time_ns BETWEEN ? AND ?"
    found = [
        db.execute(sql, (state.value, since_ns, until_ns)).fetchone()[0] for state in CaptureState
    ]
    return min((number for number in found if number is not None), default=None)
