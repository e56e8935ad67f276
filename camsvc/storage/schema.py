"""The database's tables, and how a database is opened and brought up to them."""

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import structlog

from camsvc.storage import labels
from camsvc.system import posix_access

_LOCKED_S = 2.0
"""How long another program's write is waited for."""

_NO_VACUUM = 0

_HINTS = {
    sqlite3.SQLITE_NOTADB: "is not a database; move it away to begin with an empty journal",
    sqlite3.SQLITE_CORRUPT: "is damaged; put a copy in its place, or move it away",
    sqlite3.SQLITE_READONLY: "cannot be written to; check the permissions of it and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check the permissions of it and its folder",
    sqlite3.SQLITE_FULL: "has no room; free some on its disk",
    sqlite3.SQLITE_BUSY: "is locked by another program",
}

_log = structlog.get_logger()

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
    """
    CREATE TABLE event_gaps (last_missing INTEGER PRIMARY KEY);
    """,
    """
    ALTER TABLE captures ADD COLUMN labels BLOB NOT NULL DEFAULT x'';
    UPDATE captures SET labels = packed_labels(record), record = without_labels(record);

    CREATE TABLE label_tags (
        tag BLOB NOT NULL,
        state TEXT NOT NULL,
        create_time_ns INTEGER NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (tag, state, create_time_ns, number)
    ) WITHOUT ROWID;
    INSERT INTO label_tags
        SELECT label_tag(key), state, create_time_ns, number FROM labels UNION ALL
        SELECT label_tag(key, value), state, create_time_ns, number FROM labels UNION ALL
        SELECT label_tag(key, value, camera), state, create_time_ns, number FROM labels;
    DELETE FROM label_tags WHERE state = 'RUNNING';
    DROP TABLE labels;

    ALTER TABLE events ADD COLUMN capture INTEGER;
    ALTER TABLE events ADD COLUMN labels BLOB;
    UPDATE events SET
        capture = (
            SELECT number FROM captures WHERE capture_id = capture_id_of(event)
        ),
        labels = packed_labels(event),
        event = without_labels(event)
        WHERE event LIKE '%"capture":{%';
    UPDATE events SET labels = NULL WHERE capture IS NOT NULL;
    CREATE INDEX events_by_capture ON events (capture) WHERE capture IS NOT NULL;

    INSERT INTO meta SELECT
        'event_bytes', coalesce(sum(length(event) + coalesce(length(labels), 0)), 0) FROM events;
    CREATE TRIGGER events_inserted AFTER INSERT ON events BEGIN
        UPDATE meta SET value = value + length(new.event) + coalesce(length(new.labels), 0)
            WHERE key = 'event_bytes';
    END;
    CREATE TRIGGER events_resized AFTER UPDATE OF labels ON events BEGIN
        UPDATE meta SET
            value = value + coalesce(length(new.labels), 0) - coalesce(length(old.labels), 0)
            WHERE key = 'event_bytes';
    END;
    CREATE TRIGGER events_deleted AFTER DELETE ON events BEGIN
        UPDATE meta SET value = value - length(old.event) - coalesce(length(old.labels), 0)
            WHERE key = 'event_bytes';
    END;
    """,
)
"""The script at index n makes version n + 1 of version n. A script that was released stays."""


def _record_in(text: str) -> dict[str, Any]:
    """Return the capture's record that a record's or an event's stored form is or has."""
    plain: dict[str, Any] = json.loads(text)
    record: dict[str, Any] = plain.get("capture", plain)
    return record


def _without_labels(text: str) -> str:
    plain = json.loads(text)
    plain.get("capture", plain).pop("labels", None)
    return json.dumps(plain, separators=(",", ":"))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "capture_id_of": lambda text: _record_in(text)["capture_id"],
    "packed_labels": lambda text: labels.pack(_record_in(text).get("labels", {})),
    "without_labels": _without_labels,
    "label_tag": labels.tag,
}
"""What the scripts use. Not SQLite's JSON: what a driver has called a number may be none there."""


class UnusableDatabase(Exception):
    """The database cannot be used: the message says why and, where it can, what to do."""


def connect(path: Path, count: int) -> list[Connection]:
    """Return connections to the database at `path`, made when missing: the first one may write.

    Raises:
        UnusableDatabase: it cannot be opened, made or written to, or is of a newer version.
    """
    with contextlib.ExitStack() as opened:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            posix_access.make_private_file(path)
            connections = [
                opened.enter_context(contextlib.closing(_connect(path))) for _ in range(count)
            ]
            prepare(connections[0])
            for reader in connections[1:]:
                reader.execute("PRAGMA query_only = ON")
        except OSError as error:
            why = error.strerror or error
            raise UnusableDatabase(
                f"the journal's folder {path.parent} cannot be used: {why}"
            ) from error
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            why = _HINTS.get(code, "cannot be opened")
            raise UnusableDatabase(f"the journal {path} {why} ({error})") from error
        opened.pop_all()
    return connections


def _connect(path: Path) -> Connection:
    # Each connection is used by one thread at a time, but opened and closed by others.
    db = sqlite3.connect(path, timeout=_LOCKED_S, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = FULL")
    return db


def prepare(db: Connection) -> None:
    """Bring the database to the version that this code knows.

    Raises:
        UnusableDatabase: it is of a later version; nothing was changed.
    """
    known = len(MIGRATIONS)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > known:
        raise UnusableDatabase(
            f"the journal is of version {version}, and this camsvc knows up to {known};"
            " use a newer camsvc, or another folder"
        )
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts only before there are tables
    db.execute("PRAGMA journal_mode = WAL")
    for name, function in _FUNCTIONS.items():
        db.create_function(name, -1, function, deterministic=True)
    # Begun also where there is nothing to do: a database that cannot be written to fails here.
    scripts = "".join(MIGRATIONS[version:])
    db.executescript(f"BEGIN IMMEDIATE; {scripts} PRAGMA user_version = {known}")
    db.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_bytes(16),))
    db.execute("COMMIT")
    if db.execute("PRAGMA auto_vacuum").fetchone() == (_NO_VACUUM,):
        _allow_vacuum(db)


def _allow_vacuum(db: Connection) -> None:
    """Rewrite an old database, so that it can give free pages back; where there is room."""
    try:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("VACUUM")
    except sqlite3.OperationalError as error:  # the next start tries it again
        _log.warning("journal not compacted", error=str(error))
