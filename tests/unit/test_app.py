"""What the service does beside its calls goes on after an error that nobody foresaw."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from structlog.testing import capture_logs

from camsvc import app, metrics, tasks
from camsvc.config import settings
from camsvc.logs import LogWriter
from camsvc.storage.archive import Archive
from camsvc.storage.retention import Retention
from tests.support.waiting import until, workers_gone

BOUND_S = 30.0

Log = MutableMapping[str, Any]


@pytest.fixture
def logs() -> Iterator[list[Log]]:
    with capture_logs() as logs:
        yield logs


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Put back what handles the signals that end a service."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave hardly any time between an error and the next try."""

    async def keep_running(name: str, work: Callable[[], Any]) -> None:
        await tasks.keep_running(name, work, first_pause_s=0.01)

    monkeypatch.setattr(app, "keep_running", keep_running)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Archive]:
    """Run the service in this process, until the block ends."""
    any_port = "127.0.0.1:0"
    loaded = settings.load(None, listen=any_port, metrics_listen=any_port, data_dir=folder)
    archive = await Archive.open(folder)
    log = LogWriter(os.open(os.devnull, os.O_WRONLY))
    running = asyncio.create_task(app.Service(loaded, archive, log).run())
    try:
        yield archive
    finally:
        if not running.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait([running], timeout=BOUND_S)
        await workers_gone(within_s=BOUND_S)
        await archive.close()
        log.finish()
        assert running.exception() is None


async def seen(logs: list[Log], event: str, count: int = 1, **about: object) -> None:
    async def there() -> bool:
        found = [log for log in logs if log["event"] == event and about.items() <= log.items()]
        return len(found) >= count

    await until(there, f"{event} is logged", within_s=BOUND_S)


@pytest.mark.usefixtures("quick")
async def test_retention_goes_on_after_an_unforeseen_error(
    tmp_path: Path, logs: list[Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    enforced = asyncio.Event()

    async def enforce(retention: Retention) -> None:
        if not any(log["event"] == "unhandled exception" for log in logs):
            raise RuntimeError("unforeseen")
        enforced.set()

    monkeypatch.setattr(Retention, "enforce", enforce)
    async with serving(tmp_path / "data"):
        await seen(logs, "unhandled exception", task="retention", exc_info=True)
        async with asyncio.timeout(BOUND_S):
            await enforced.wait()
    assert "stopped" in [log["event"] for log in logs]


@pytest.mark.usefixtures("quick")
async def test_metrics_are_served_again_after_their_thread_has_ended(
    tmp_path: Path, logs: list[Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[Any] = []

    def start(*args: Any, **options: Any) -> Any:
        servers.append(prometheus_client.start_http_server(*args, **options))
        return servers[-1]

    monkeypatch.setattr(metrics, "start_http_server", start)
    async with serving(tmp_path / "data"):
        await seen(logs, "metrics served")
        await asyncio.to_thread(servers[0][0].shutdown)
        await seen(logs, "unhandled exception", task="metrics", exc_info=True)
        await seen(logs, "metrics served", count=2)
    for server, thread in servers[1:]:  # they would be served until the process ends
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()


async def test_an_error_is_logged_and_the_pauses_grow_up_to_a_bound(logs: list[Log]) -> None:
    async def work() -> None:
        if len(logs) < 5:
            raise ValueError(len(logs))

    await tasks.keep_running("work", work, first_pause_s=0.001, longest_pause_s=0.004)
    assert [log["restart_in_s"] for log in logs] == [0.001, 0.002, 0.004, 0.004, 0.004]
    assert {(log["event"], log["task"], log["log_level"], log["exc_info"]) for log in logs} == {
        ("unhandled exception", "work", "error", True)
    }


async def test_a_long_run_without_an_error_ends_the_row(logs: list[Log]) -> None:
    async def work() -> None:
        if len(logs) == 3:
            await asyncio.sleep(0.05)
        if len(logs) < 5:
            raise ValueError(len(logs))

    await tasks.keep_running("work", work, first_pause_s=0.001, longest_pause_s=0.02)
    assert [log["restart_in_s"] for log in logs] == [0.001, 0.002, 0.004, 0.001, 0.002]
