"""What the journal has acknowledged it keeps, and a write that fails takes no other with it."""

import asyncio
import contextlib
import gc
import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import pytest
from structlog.testing import capture_logs

from camsvc.model.errors import StorageUnavailable
from camsvc.model.records import EventRecord, EventType
from camsvc.storage import event_queries, schema
from camsvc.storage import queries as rows
from camsvc.storage.database import Database
from camsvc.storage.schema import UnusableDatabase
from tests.support.old_journal import make_old_journal

LIMIT_BYTES, ONE_WRITE_BYTES = 8 << 20, 1 << 20
BOUND_S = 20.0


class Rig:
    """A journal that counts its commits; `broken` is what the folder's sync raises."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commits = self.failed_batches = 0
        self.broken: Exception | None = None
        self.journal = self.open()

    def open(self) -> Database:
        return Database(self.path, before_commit=self._before_commit)

    @classmethod
    async def made(cls, path: Path) -> None:
        """Leave a journal with one event at `path`."""
        rig = cls(path)
        await rig.journal.write(add)
        await rig.journal.close()

    async def reopen(self) -> None:
        await self.journal.close()
        self.journal = self.open()

    async def sequences(self) -> list[int]:
        events, _ = await self.journal.read(
            lambda db: event_queries.events(db, after=0, camera="", limit=100_000)
        )
        return [event.sequence for event in events]

    @contextlib.contextmanager
    def one_batch(self) -> Iterator[None]:
        """Have the writes of the block be one batch: the thread is kept in another till its end."""
        entered, leave = threading.Event(), threading.Event()

        def hold(db: Connection) -> None:
            entered.set()
            assert leave.wait(BOUND_S)

        self.journal.write(hold)
        assert entered.wait(BOUND_S)
        try:
            yield
        finally:
            leave.set()

    def _before_commit(self) -> None:
        if self.broken:
            self.failed_batches += 1
            raise self.broken
        self.commits += 1


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path / "new" / "journal.db")
    yield rig
    await rig.journal.close()


def add(db: Connection) -> int:
    """Add an event; return its sequence."""
    return event_queries.add_event(db, EventRecord(EventType.QUEUED, 1, "cam")).sequence


def add_and_fail(db: Connection) -> None:
    add(db)
    raise ValueError("the job failed")


def add_much(db: Connection) -> None:
    db.execute("INSERT INTO meta VALUES ('much', zeroblob(10000000))")


async def test_what_was_written_can_be_read(rig: Rig) -> None:
    assert await rig.journal.write(add) == 1
    assert await rig.sequences() == [1]


async def test_writes_that_wait_are_committed_together(rig: Rig) -> None:
    with rig.one_batch():
        writes = [rig.journal.write(add) for _ in range(1000)]
    assert await asyncio.gather(*writes) == list(range(1, 1001))
    assert rig.commits == 1 + 4


async def test_a_write_that_fails_is_undone_alone(rig: Rig) -> None:
    with rig.one_batch():
        jobs = [add, add_and_fail, add, add_and_fail, add]
        writes: list[asyncio.Future[Any]] = [rig.journal.write(job) for job in jobs]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == [
        "1",
        "the job failed",
        "2",
        "the job failed",
        "3",
    ], "a write that is undone gives its sequence back"
    assert await rig.sequences() == [1, 2, 3]
    assert rig.commits == 2


async def test_when_the_folders_cannot_be_synced_the_batch_fails_and_the_next_does_not(
    rig: Rig,
) -> None:
    assert await rig.journal.write(add) == 1
    rig.broken = OSError("no sync")
    with rig.one_batch():
        writes = [rig.journal.write(add) for _ in range(3)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert {str(outcome) for outcome in outcomes} == {"no sync"}
    assert rig.commits == 1
    assert rig.failed_batches == 2, "that which held the others up, and theirs"
    rig.broken = None
    assert await rig.journal.write(add) == 2
    assert await rig.sequences() == [1, 2]


async def test_a_full_database_fails_writes_and_is_used_on_once_there_is_room(rig: Rig) -> None:
    assert await rig.journal.write(add) == 1
    await rig.journal.write(lambda db: db.execute("PRAGMA max_page_count = 200").fetchall())
    with rig.one_batch():
        before = rig.journal.write(add)
        much = rig.journal.write(add_much)
        after = rig.journal.write(add)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        await much
    kept = [1]
    for write in (before, after):
        with contextlib.suppress(sqlite3.OperationalError):
            kept.append(await write)
    assert await rig.sequences() == kept, "exactly what was acknowledged is there"
    await rig.journal.write(lambda db: db.execute("PRAGMA max_page_count = 100000").fetchall())
    await rig.journal.write(add_much)
    assert await rig.journal.write(add) == len(kept) + 1


async def test_a_commit_that_fails_fails_its_batch_and_no_other(rig: Rig) -> None:
    """The system refuses to let the log grow, as it does on a full disk."""
    assert await rig.journal.write(add) == 1
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = rig.path.with_name("journal.db-wal")
    with rig.one_batch():
        writes = [rig.journal.write(add) for _ in range(3)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, limits[1]))
    try:
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {type(outcome) for outcome in outcomes} == {sqlite3.OperationalError}
    assert await rig.journal.write(add) == 2
    await rig.reopen()
    assert await rig.sequences() == [1, 2]


async def test_a_job_that_ends_the_transaction_fails_its_batch(rig: Rig) -> None:
    with rig.one_batch():
        writes: list[asyncio.Future[Any]] = [
            rig.journal.write(job) for job in (add, lambda db: db.execute("ROLLBACK"))
        ]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {sqlite3.OperationalError}
    assert await rig.journal.write(add) == 1


async def test_a_failure_that_nobody_asks_for_is_logged_once(rig: Rig) -> None:
    with capture_logs() as logs:
        rig.journal.write(add_and_fail)
        await rig.journal.write(add)
        gc.collect()
    (log,) = logs
    assert (log["event"], str(log["exc_info"])) == ("journal write failed", "the job failed")


async def test_a_failure_that_somebody_awaits_is_not_logged(rig: Rig) -> None:
    with capture_logs() as logs:
        with pytest.raises(ValueError, match="the job failed"):
            await rig.journal.write(add_and_fail)
        gc.collect()
    assert not logs


async def test_a_failure_is_logged_when_it_happens_not_when_garbage_is_collected(
    rig: Rig,
) -> None:
    gc.disable()
    try:
        with capture_logs() as logs:
            rig.journal.write(add_and_fail)
            await rig.journal.write(add)
            await rig.journal.write(add)
    finally:
        gc.enable()
    assert len(logs) == 1


async def test_a_write_whose_caller_has_left_is_done_all_the_same(rig: Rig) -> None:
    with rig.one_batch():
        left, other = rig.journal.write(add), rig.journal.write(add)
        left.cancel()
    assert await other == 2
    assert await rig.sequences() == [1, 2]


async def test_a_reader_cannot_write(rig: Rig) -> None:
    with pytest.raises(StorageUnavailable, match="readonly"):
        await rig.journal.read(add)


async def test_a_query_sees_one_state_whatever_is_written_meanwhile(rig: Rig) -> None:
    began, written = threading.Event(), threading.Event()

    def query(db: Connection) -> list[tuple[int, int]]:
        spans = [event_queries.event_span(db)]
        began.set()
        assert written.wait(BOUND_S)
        return [*spans, event_queries.event_span(db)]

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(rig.journal.read(query))
        assert await asyncio.to_thread(began.wait, BOUND_S)
        await rig.journal.write(add)
        written.set()
    assert reading.result() == [(1, 0), (1, 0)]


async def test_the_log_stays_bounded_while_there_is_always_a_reader(rig: Rig) -> None:
    log = rig.path.with_name("journal.db-wal")
    done = asyncio.Event()
    count = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)"
        " SELECT count(*), (SELECT count(*) FROM meta) FROM n"
    )

    async def read() -> None:
        while not done.is_set():
            await rig.journal.read(lambda db: db.execute(count).fetchall())

    def fill(db: Connection) -> None:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('fill', randomblob(250000))")

    largest = 0
    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(read())
            for _ in range(200):
                await rig.journal.write(fill)
                largest = max(largest, log.stat().st_size)
            done.set()
    # On a busy machine a reader may keep its connection for too long now and then.
    postponed = sum(entry["event"] == "journal checkpoint postponed" for entry in logs)
    assert postponed <= 2, "of 50 MB that were written"
    assert largest < (postponed + 1) * LIMIT_BYTES + ONE_WRITE_BYTES


async def test_closing_lets_queued_writes_end_and_leaves_one_file(rig: Rig) -> None:
    with rig.one_batch():
        writes = [rig.journal.write(add) for _ in range(600)]
        closing = asyncio.create_task(rig.journal.close())
    await closing
    assert [write.result() for write in writes] == list(range(1, 601))
    assert [file.name for file in rig.path.parent.iterdir()] == ["journal.db"]


async def test_a_closed_journal_refuses(rig: Rig) -> None:
    await rig.journal.close()
    with pytest.raises(UnusableDatabase, match="closed"):
        await rig.journal.write(add)
    with pytest.raises(UnusableDatabase, match="closed"):
        await rig.journal.read(event_queries.event_span)


async def test_opened_again_it_has_everything(rig: Rig) -> None:
    await rig.journal.write(add)
    secret = await rig.journal.read(rows.secret)
    await rig.reopen()
    assert await rig.journal.write(add) == 2
    assert await rig.sequences() == [1, 2]
    assert await rig.journal.read(rows.secret) == secret
    assert len(secret) == 16


WRITES_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from camsvc.storage import event_queries
from camsvc.storage.database import Database
from camsvc.model.records import EventRecord, EventType

async def main():
    journal = Database(
        Path(sys.argv[1]), before_commit=lambda: None
    )
    async def write():
        while True:
            event = EventRecord(EventType.QUEUED, 1, "cam")
            event = await journal.write(lambda db: event_queries.add_event(db, event))
            print(event.sequence, flush=True)
    await asyncio.gather(*(write() for _ in range(5)))

asyncio.run(main())
"""


async def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    acknowledged: set[int] = set()
    for lines in (1, 100, 500):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITES_FOR_EVER, str(path), stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        async with asyncio.timeout(BOUND_S):
            for _ in range(lines):
                acknowledged.add(int(await writer.stdout.readline()))
            writer.kill()
            rest = (await writer.stdout.read()).splitlines(keepends=True)
            acknowledged |= {int(line) for line in rest if line.endswith(b"\n")}
            assert await writer.wait() == -signal.SIGKILL
    rig = Rig(path)
    kept = await rig.sequences()
    assert kept == list(range(1, len(kept) + 1)), "no hole"
    assert acknowledged <= set(kept)
    await rig.journal.close()


def refusal(path: Path) -> str:
    with pytest.raises(UnusableDatabase) as refused:
        Database(path, before_commit=lambda: None)
    return str(refused.value)


async def test_a_journal_of_a_newer_version_is_refused_and_left_as_it_is(rig: Rig) -> None:
    await rig.journal.close()
    with contextlib.closing(sqlite3.connect(rig.path)) as db:
        db.execute("PRAGMA user_version = 7")
    before = rig.path.read_bytes()
    assert refusal(rig.path).startswith(
        "the journal is of version 7, and this camsvc knows up to 4; "
    )
    assert rig.path.read_bytes() == before


async def test_an_older_journal_is_brought_up_to_date(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.journal.write(add)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE more (a);"))
    await rig.reopen()
    assert await rig.sequences() == [1]
    assert await rig.journal.read(lambda db: db.execute("SELECT * FROM more").fetchall()) == []


async def test_a_migration_that_fails_leaves_the_journal_as_it_was(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.journal.write(add)
    await rig.journal.close()
    with monkeypatch.context() as patch:
        bad = "DROP TABLE events; CREATE TABLE events (a); CREATE TABLE events (a);"
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, bad))
        assert "already exists" in refusal(rig.path)
    rig.journal = rig.open()
    assert await rig.sequences() == [1]


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
async def test_the_journal_and_its_log_are_its_owners_alone(tmp_path: Path, umask: int) -> None:
    """Whatever the umask, also where it was put back."""
    path = tmp_path / "journal.db"
    private = dict.fromkeys(("journal.db", "journal.db-shm", "journal.db-wal"), 0o600)
    before = os.umask(umask)
    try:
        rig = Rig(path)
        assert await rig.journal.write(add) == 1
        assert modes(tmp_path) == private
    finally:
        os.umask(before)
    path.unlink()
    os.umask(umask)
    try:
        assert await rig.journal.write(add) == 2
    finally:
        os.umask(before)
    assert modes(tmp_path) == private
    await rig.journal.close()


async def test_what_is_deleted_is_given_back(rig: Rig) -> None:
    """Also in a journal that was made when that was not possible yet."""
    await rig.journal.close()
    rig.path.unlink()
    make_old_journal(rig.path, [], [])
    rig.journal = rig.open()
    await rig.journal.write(add_much)
    await rig.reopen()
    full = rig.path.stat().st_size
    await rig.journal.write(lambda db: db.execute("DELETE FROM meta WHERE key = 'much'"))
    for _ in range(20):
        await rig.journal.write(add)
    await rig.reopen()
    assert full > 10_000_000
    assert rig.path.stat().st_size < 4_000_000


def test_what_is_not_a_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_text("no database" * 1000)
    assert "is not a database; move it away" in refusal(path)


async def test_a_damaged_database_is_refused(rig: Rig) -> None:
    await rig.journal.write(add)
    await rig.journal.close()
    with rig.path.open("r+b") as file:
        file.truncate(rig.path.stat().st_size // 2)
    assert "is damaged" in refusal(rig.path)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "journal.db", tmp_path / "file" / "deeper" / "journal.db"):
        assert f"the journal's folder {path.parent} " in refusal(path)


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be opened; check the permissions" in refusal(tmp_path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that takes no file")
def test_a_folder_that_takes_no_file_is_refused() -> None:
    assert "cannot be opened; check the permissions" in refusal(Path("/proc/journal.db"))


OPENS = """
import sys
from pathlib import Path
from camsvc.storage.schema import UnusableDatabase
from tests.support.old_journal import make_old_journal
from camsvc.storage.database import Database
try:
    Database(Path(sys.argv[1]), before_commit=lambda: None)
except UnusableDatabase as error:
    print(error)
"""
READ_ONLY = [
    "unshare",
    "-rm",
    "sh",
    "-c",
    'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"',
]


def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    """Root may write anywhere, but for a file system that is mounted read-only."""
    path = tmp_path / "journal.db"
    asyncio.run(Rig.made(path))
    mount = [*READ_ONLY, "sh", str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs a mount of its own")
    script = f'{READ_ONLY[-1]} && shift && exec "$@"'
    command = [*READ_ONLY[:-1], script, "sh", str(tmp_path), sys.executable, "-c", OPENS, str(path)]
    opened = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=True)
    assert "check the permissions of it and its folder" in opened.stdout


async def test_the_thread_goes_on_after_an_unforeseen_error(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it raises while it writes is answered; what it raises besides is logged."""

    def fail(*_: object) -> None:
        raise RuntimeError("unforeseen")

    with capture_logs() as logs:
        with monkeypatch.context() as patch:
            patch.setattr(Database, "_bound_log", fail)
            assert await rig.journal.write(add) == 1
            rig.broken = RuntimeError("unforeseen")
            with pytest.raises(RuntimeError, match="unforeseen"):
                await rig.journal.write(add)
            rig.broken = None
            assert await rig.journal.write(add) == 2
        await rig.reopen()
    assert {(log["event"], log["task"]) for log in logs} == {("unhandled exception", "journal")}
    assert len(logs) >= 2
