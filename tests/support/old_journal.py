"""A journal as an earlier version has left it, made by the statements that were in use then."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from camsvc.model.records import CaptureRecord, EventRecord

OLD_VERSION = 3
_TABLES = """
PRAGMA journal_mode = WAL;
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
ALTER TABLE captures ADD COLUMN other_paths TEXT NOT NULL DEFAULT '[]';
CREATE TABLE event_gaps (last_missing INTEGER PRIMARY KEY);
INSERT INTO meta VALUES ('secret', x'000102030405060708090a0b0c0d0e0f');
PRAGMA user_version = 3;
"""


def make_old_journal(
    path: Path, captures: Sequence[CaptureRecord], events: Sequence[EventRecord]
) -> None:
    """Make a journal of version `OLD_VERSION` with these captures and events."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(_TABLES)
        db.execute("BEGIN")
        for number, record in enumerate(captures, 1):
            state, created_ns = record.state.value, record.create_time_ns
            first, *others = [file.path for file in record.files] or [""]
            whose = (number, record.capture_id, record.camera, record.request_id, state)
            kept = (created_ns, record.size_bytes, first, record.to_json(), json.dumps(others))
            db.execute(
                "INSERT INTO captures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*whose, *kept)
            )
            labels = [
                (number, key, value, record.camera, state, created_ns)
                for key, value in record.labels.items()
            ]
            db.executemany("INSERT INTO labels VALUES (?, ?, ?, ?, ?, ?)", labels)
        sql = "INSERT INTO events (camera, time_ns, event) VALUES (?, ?, ?)"
        db.executemany(sql, ((event.camera, event.time_ns, event.to_json()) for event in events))
        db.execute("COMMIT")
