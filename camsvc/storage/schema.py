"""The database's tables, and how an older database is brought up to them."""

import secrets
from sqlite3 import Connection

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
)
"""The script at index n makes version n + 1 of version n. A script that was released stays."""


class NewerDatabase(Exception):
    """A newer camsvc has written the database; the message says so, and what to do."""


def prepare(db: Connection) -> None:
    """Bring the database to the version that this code knows.

    Raises:
        NewerDatabase: it is of a later version; nothing was changed.
    """
    known = len(MIGRATIONS)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > known:
        raise NewerDatabase(
            f"the journal is of version {version}, and this camsvc knows up to {known};"
            " use a newer camsvc, or another folder"
        )
    db.execute("PRAGMA journal_mode = WAL")
    # Begun also where there is nothing to do: a database that cannot be written to fails here.
    scripts = "".join(MIGRATIONS[version:])
    db.executescript(f"BEGIN IMMEDIATE; {scripts} PRAGMA user_version = {known}")
    db.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_bytes(16),))
    db.execute("COMMIT")
