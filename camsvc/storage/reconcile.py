"""What a sudden end has left, reconciled at the next start; see `capture_store`."""

import sqlite3
import time
from collections.abc import Container
from dataclasses import replace

import structlog

from camsvc.model.errors import CameraUnavailable, CaptureNotFound
from camsvc.model.records import CaptureRecord, CaptureState, EventRecord, EventType, Failure
from camsvc.storage import event_queries
from camsvc.storage import queries as rows
from camsvc.storage.files import FileStore

_log = structlog.get_logger()


def reconcile(db: sqlite3.Connection, store: FileStore) -> None:
    """Bring files and rows together, and end what was RUNNING. All of it is logged."""
    pending = rows.pending_deletions(db)
    for path in pending:
        store.delete(path)
    rows.clear_deletions(db, pending)
    running = rows.running(db)
    _match(db, store, unfinished={record.capture_id for record in running})
    for record in running:
        end(db, _interrupted(record))
    swept = store.sweep()
    if running or swept:
        _log.warning("the last run ended suddenly", unfinished=len(running), swept=swept)


def end(db: sqlite3.Connection, record: CaptureRecord) -> EventRecord:
    """Keep a capture as it ended, and the event of that."""
    try:
        rows.update_capture(db, record)
    except LookupError:  # its beginning was lost, or waits for room on the disk
        rows.add_capture(db, record)
    event = EventRecord(
        EventType(record.state.value),
        time.time_ns(),
        record.camera,
        record.capture_id,
        record.request_id,
        attempt=record.attempts,
        capture=record,
        failure=record.failure,
    )
    return event_queries.add_event(db, event)


def end_if_running(db: sqlite3.Connection, record: CaptureRecord) -> EventRecord | None:
    """Keep a capture as it ended, and the event of that, unless it had ended before."""
    kept = rows.capture(db, record.capture_id)
    return end(db, record) if kept is None or kept.state is CaptureState.RUNNING else None


def _match(db: sqlite3.Connection, store: FileStore, unfinished: set[str]) -> None:
    """Bring every picture to its row, and every row to its picture."""
    files, kept = store.files(), rows.image_paths(db)
    for capture_id in [each for each, paths in kept.items() if not files.keys() >= set(paths)]:
        kept[capture_id] = [file.path for file in _without_lost(db, capture_id, files).files]
    for path, capture_id in files.items():
        if capture_id in unfinished:
            store.delete(path)  # never acknowledged
        elif path not in kept.get(capture_id, ()):
            _log.warning("picture without a capture set aside", file=path)
            store.set_aside(path)


def _without_lost(db: sqlite3.Connection, capture_id: str, files: Container[str]) -> CaptureRecord:
    """Keep that files of a capture are gone, and return it: it has FAILED without its picture."""
    record = rows.capture(db, capture_id)
    if record is None or record.image is None:
        raise LookupError(f"capture {capture_id!r} is listed, but has no record of a picture")
    if record.image.path in files:
        _log.error("capture has lost one of its further files", capture=capture_id)
        left = replace(record, others=tuple(o for o in record.others if o.path in files))
    else:
        _log.error("capture has lost its picture", capture=capture_id)
        lost = Failure(
            CaptureNotFound.reason,
            "its picture is gone from the data folder",
            {"camera": record.camera, "capture_id": capture_id},
        )
        left = replace(record, state=CaptureState.FAILED, image=None, others=(), failure=lost)
    rows.update_capture(db, left)
    return left


def _interrupted(record: CaptureRecord) -> CaptureRecord:
    error = CameraUnavailable(
        f"camera {record.camera!r}: the service ended before there was a picture",
        retry_after_s=0.0,
        metadata={"camera": record.camera, "capture_id": record.capture_id},
    )
    return replace(record, state=CaptureState.CANCELLED, failure=Failure.of(error))
