"""The SQL of ages; see `age_floors`. A function belongs into a job or a query, as in `queries`."""

import dataclasses
import json
from sqlite3 import Connection

from camsvc.model.records import CaptureState
from camsvc.storage.age_floors import Floor, KnownAges


def known_ages(db: Connection) -> KnownAges:
    """Return what was kept last, else the time that the newest capture says."""
    row = db.execute("SELECT value FROM meta WHERE key = 'known_ages'").fetchone()
    if row is not None:
        raw = json.loads(row[0])
        kinds = [tuple(Floor(**floor) for floor in raw[key]) for key in ("certain", "running")]
        return KnownAges(raw["time_ns"], *kinds)
    sql = "SELECT create_time_ns FROM captures ORDER BY number DESC LIMIT 1"
    (time_ns,) = db.execute(sql).fetchone() or (0,)
    return KnownAges(time_ns)


def keep_ages(db: Connection, known: KnownAges) -> None:
    """Keep what is known in the place of what was before."""
    text = json.dumps(dataclasses.asdict(known))
    db.execute("INSERT OR REPLACE INTO meta VALUES ('known_ages', ?)", (text,))


def last_numbers(db: Connection) -> tuple[int, int]:
    """Return the numbers of the newest capture and event there ever were; 0: there was none."""
    found = dict(db.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    return found.get("captures", 0), found.get("events", 0)


def first_created(db: Connection, *, since_ns: int, until_ns: int) -> int | None:
    """Return the lowest number of a capture created between two times; None: there is none."""
    # An index has the states' captures by time; `+` keeps SQLite from reading the table instead.
    sql = "SELECT min(+number) FROM captures WHERE state = ? AND create_time_ns BETWEEN ? AND ?"
    found = [
        db.execute(sql, (state.value, since_ns, until_ns)).fetchone()[0] for state in CaptureState
    ]
    return min((number for number in found if number is not None), default=None)
