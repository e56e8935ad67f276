"""The service's side of a worker: whatever the process does, every call ends."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import NoReturn

import psutil
import pytest
from structlog.testing import capture_logs

import camsvc
from camsvc.images import exif
from camsvc.ipc import codec
from camsvc.ipc import messages as m
from camsvc.ipc.observer import WorkerObserver
from camsvc.ipc.shared_memory import SharedBlock
from camsvc.model.errors import DriverError, DriverFault, WorkerLost, WorkerTimeout
from camsvc.model.options import Launch
from camsvc.model.values import DeviceInfo, Shot
from camsvc.worker_pool import stderr
from camsvc.worker_pool.process import WorkerProcess
from tests.support.misdeeds import EXIT_CODE, TINY_JPEG
from tests.support.stills import files_of
from tests.support.timing import timing
from tests.support.waiting import workers_gone

SUPPORT = Path(__file__).parents[1] / "support"
MISDEEDS = Launch.of("misdeeds:Misdeeds", None, {"PYTHONPATH": str(SUPPORT)})
SIMULATED = Launch("camsvc.drivers.simulated.camera:SimulatedCamera")

START_S = 60.0
CALL_S = 60.0
INTERNAL_ERROR = "an internal error, see the service's log"
UNHANDLED = ("unhandled exception in the supervision of a worker", "error")
NOTICED_S = 2.0

StartWorker = Callable[..., Awaitable[WorkerProcess]]


@pytest.fixture
async def start() -> AsyncIterator[StartWorker]:
    """Give a function that starts a worker, which is ended after the test."""
    workers = []

    async def start(launch: Launch = MISDEEDS, **options: float) -> WorkerProcess:
        async with asyncio.timeout(START_S):
            workers.append(await WorkerProcess.start(launch, **options))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill("the test is over")
        await gone(worker)


@pytest.fixture
def sleepers() -> Iterator[None]:
    """End what a worker left behind."""
    yield
    for process in psutil.Process().children(recursive=True):
        if process.name() == "sleep":
            process.kill()
            process.wait(5)


def opening(deed: str = "behave") -> m.Open:
    return m.Open({"deed": deed}, {}, b"")


async def gone(worker: WorkerProcess) -> None:
    async with asyncio.timeout(NOTICED_S):
        await worker.wait_ended()
    assert not psutil.pid_exists(worker.pid)


@pytest.mark.timed
async def test_a_call_that_is_not_answered_ends_at_its_time_out(start: StartWorker) -> None:
    worker = await start(MISDEEDS)
    with timing() as took, pytest.raises(WorkerTimeout, match="Open was not answered within 0.3 s"):
        await worker.call(opening("hang"), 0.3)
    assert took.s >= 0.3
    took.assert_within(0.5)
    assert worker.alive, "what becomes of it is the caller's decision"


async def test_a_ping_is_answered_while_a_driver_hangs(start: StartWorker) -> None:
    worker = await start(MISDEEDS)
    hanging = asyncio.create_task(worker.call(opening("hang"), CALL_S))
    await worker.call(m.Ping(), CALL_S)
    worker.kill("enough")
    with pytest.raises(WorkerLost, match="enough"):
        await hanging


@pytest.mark.timed
async def test_a_death_fails_every_pending_call_with_the_exit_code(start: StartWorker) -> None:
    worker = await start(MISDEEDS)
    calls = [worker.call(opening("exit_"), CALL_S), worker.call(opening(), CALL_S)]
    with timing() as took:
        results = await asyncio.gather(*calls, return_exceptions=True)
    took.assert_within(NOTICED_S)
    for result in results:
        assert isinstance(result, WorkerLost)
        assert f"exit code {EXIT_CODE}" in str(result)
    with pytest.raises(WorkerLost, match=f"exit code {EXIT_CODE}"):
        await worker.call(opening(), CALL_S)


async def test_a_signals_name_is_reported(start: StartWorker) -> None:
    worker = await start(MISDEEDS)
    hanging = asyncio.create_task(worker.call(opening("hang"), CALL_S))
    await worker.call(m.Ping(), CALL_S)
    os.kill(worker.pid, signal.SIGSEGV)
    with pytest.raises(WorkerLost, match="SIGSEGV"):
        await hanging


async def test_what_it_said_before_its_death_is_heard(start: StartWorker) -> None:
    worker = await start(MISDEEDS)
    first, second = await asyncio.gather(
        worker.call(opening("answer_and_exit"), CALL_S),
        worker.call(opening(), CALL_S),
        return_exceptions=True,
    )
    assert isinstance(first, m.Opened)
    assert first.device.model == "last words"
    assert isinstance(second, WorkerLost)


@pytest.mark.parametrize(
    ("settings", "violation"),
    [
        ({"deed": "send_what_is_no_message"}, "not a message"),
        ({"deed": "send_a_pickle"}, "not a message"),
        ({"deed": "announce_too_long_a_message"}, "a message of 1048577 bytes; allowed: 1048576"),
        ({"deed": "tell_of_too_much_progress"}, "message.percent is out of its range: 0 to 100"),
        (
            {"deed": "tell_of_progress_that_is_no_number"},
            "message.percent is text; allowed: a whole",
        ),
        ({"deed": "describe_the_device_by_a_number"}, "message.device is a whole number; allowed:"),
        ({"deed": "announce_a_live_frame_of_negative_size"}, "images[0].size_bytes is out of"),
        ({"deed": "answer_another_command"}, "Controls does not answer Open; allowed: Opened"),
        ({"deed": "answer_what_nobody_asked"}, "Done answers no command"),
        ({"deed": "give_a_command"}, "'Close' is not a message that this side may send"),
        ({"at_capture": "announce_a_picture_of_no_bytes"}, "image.size_bytes is out of its range"),
        ({"deed": "start_twice"}, "a worker starts once, before all else"),
        ({"deed": "report_under_a_commands_id"}, "Progress answers no command"),
        ({"deed": "release_a_slot"}, "'Release' is not a message that this side may send"),
        ({"deed": "announce_a_slot_twice"}, "slot 3 of a live frame is not the worker's"),
        ({"deed": "announce_a_slot_twice_in_a_frame"}, "slot 3 of a live frame is not the"),
        (
            {"deed": "announce_too_large_a_frame"},
            "a live frame of 24000002 bytes; allowed: 24000000",
        ),
        ({"deed": "announce_a_frame_of_the_future"}, "the time of a live frame is ahead of now"),
        ({"at_capture": "take_no_time_at_all"}, "driver_s is out of its range"),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)
async def test_a_worker_that_violates_the_protocol_is_killed(
    start: StartWorker,
    settings: dict[str, object],
    violation: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    worker = await start(MISDEEDS)
    with pytest.raises(WorkerLost, match="protocol violation: .*" + re.escape(violation)):
        await worker.call(m.Open(settings, {}, b""), CALL_S)
        await worker.call(m.Capture(Shot()), CALL_S)
    await gone(worker)
    assert os.listdir(tmp_path) == [], "nothing was run"


async def test_what_a_driver_returns_in_the_wrong_type_is_its_error(start: StartWorker) -> None:
    worker = await start(MISDEEDS)
    with pytest.raises(DriverError, match=r"device\.formats is a table; allowed: a list"):
        await worker.call(m.Open({"formats": {"JPEG": 1}}, {}, b""), CALL_S)
    with pytest.raises(DriverError, match=r"formats\[1\] is 'HEIF'; allowed: JPEG, PNG, RAW"):
        await worker.call(m.Open({"formats": ["JPEG", "HEIF"]}, {}, b""), CALL_S)
    await worker.call(opening(), CALL_S)


async def test_half_a_message_holds_nothing_up(start: StartWorker) -> None:
    worker = await start(MISDEEDS)
    with pytest.raises(WorkerTimeout):
        await worker.call(opening("stop_in_the_middle_of_a_message"), 0.3)


@pytest.mark.timed
async def test_a_stopped_worker_that_reads_nothing_holds_nothing_up(start: StartWorker) -> None:
    worker = await start(MISDEEDS)
    os.kill(worker.pid, signal.SIGSTOP)
    large = m.Open({"ballast": "x" * 2**19}, {}, b"")
    with timing() as took:
        results = await asyncio.gather(
            *(worker.call(large, 0.3) for _ in range(8)), return_exceptions=True
        )
        assert all(isinstance(result, WorkerTimeout) for result in results)
    took.assert_within(1)
    worker.kill("it is stopped")
    await gone(worker)


@pytest.mark.timed
@pytest.mark.usefixtures("sleepers")
async def test_a_child_of_the_worker_that_holds_the_pipe_does_not_hide_its_death(
    start: StartWorker,
) -> None:
    worker = await start(MISDEEDS)
    with timing() as took, pytest.raises(WorkerLost, match=f"exit code {EXIT_CODE}"):
        await worker.call(opening("leave_a_child_with_the_pipe_and_exit"), CALL_S)
    took.assert_within(NOTICED_S)
    await gone(worker)


async def test_words_without_end_on_stderr_do_no_harm(start: StartWorker) -> None:
    worker = await start(MISDEEDS)
    await worker.call(opening("write_without_end_to_stderr"), CALL_S)


@pytest.mark.parametrize(
    ("launch", "words"),
    [
        (Launch(SIMULATED.driver, python="no-such-python"), "could not be started"),
        (Launch(SIMULATED.driver, python="false"), "exit code 1"),
    ],
    ids=["not there", "no interpreter"],
)
async def test_a_worker_that_cannot_start_is_lost(launch: Launch, words: str) -> None:
    with pytest.raises(WorkerLost, match=words):
        async with asyncio.timeout(START_S):
            await WorkerProcess.start(launch)


@pytest.mark.parametrize(
    "driver", ["no_such_module:Driver", "camsvc.drivers.simulated.camera:NoSuchClass"]
)
async def test_a_driver_that_cannot_be_loaded_is_a_fault_that_says_what_to_do(
    start: StartWorker, driver: str
) -> None:
    worker = await start(Launch(driver))
    with pytest.raises(DriverFault, match=f"'{driver}' cannot be loaded.*reset the camera"):
        await worker.call(opening(), CALL_S)


@pytest.mark.parametrize("steps", range(0, 24, 3))
async def test_a_start_that_is_cancelled_leaves_nothing(steps: int) -> None:
    """Neither process nor memory, whichever step of the start it is at."""
    starting = asyncio.create_task(WorkerProcess.start(MISDEEDS))
    for _ in range(steps):
        await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])
    await workers_gone()


async def test_a_worker_that_does_not_start_ends_with_the_wait_for_it(tmp_path: Path) -> None:
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexec sleep 1000\n")
    silent.chmod(0o755)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await WorkerProcess.start(Launch(SIMULATED.driver, python=str(silent)))
    await workers_gone()


async def test_an_idle_worker_that_stops_answering_is_killed(start: StartWorker) -> None:
    worker = await start(MISDEEDS, liveness_interval_s=0.2)
    os.kill(worker.pid, signal.SIGSTOP)
    await gone(worker)
    with pytest.raises(WorkerLost, match="stopped answering while idle"):
        await worker.call(opening(), CALL_S)


async def test_a_busy_worker_is_left_to_its_calls_time_out(start: StartWorker) -> None:
    worker = await start(MISDEEDS, liveness_interval_s=0.05)
    with pytest.raises(WorkerTimeout):
        await worker.call(opening("hang"), 0.5)
    assert worker.alive


class Failing(WorkerObserver):
    """Fails at whatever it hears, as a bug of the service's own would."""

    def on_device_changed(self, device: DeviceInfo) -> None:
        raise ZeroDivisionError


def fail(*_: object) -> NoReturn:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("broken", "name"),
    [(codec.FROM_WORKER, "decode"), (m, "Ping"), (stderr, "lines")],
    ids=["receiving", "liveness", "stderr"],
)
async def test_a_task_that_dies_of_an_unforeseen_error_takes_its_worker_with_it(
    start: StartWorker, monkeypatch: pytest.MonkeyPatch, broken: object, name: str
) -> None:
    """It is logged, and its callers learn at once that the worker is lost."""
    monkeypatch.setattr(broken, name, fail)
    with capture_logs() as logs, pytest.raises(WorkerLost, match=INTERNAL_ERROR):
        worker = await start(MISDEEDS, liveness_interval_s=0.1)
        async with asyncio.timeout(NOTICED_S):
            await worker.wait_ended()
        await worker.call(opening(), CALL_S)
    await workers_gone()
    assert UNHANDLED in [(entry["event"], entry["log_level"]) for entry in logs]


async def test_an_observer_that_fails_costs_its_worker(start: StartWorker) -> None:
    worker = await start(MISDEEDS)
    worker.attach("sim0", Failing())
    with pytest.raises(WorkerLost, match=INTERNAL_ERROR):
        await worker.call(opening("say_that_the_device_has_changed"), CALL_S)
    await gone(worker)


async def test_an_observer_that_is_attached_too_late_hears_of_the_end(start: StartWorker) -> None:
    worker = await start(MISDEEDS)
    worker.kill("enough")
    await gone(worker)
    ended = asyncio.Event()

    class Late(WorkerObserver):
        def on_ended(self) -> None:
            ended.set()

    worker.attach("sim0", Late())
    async with asyncio.timeout(NOTICED_S):
        await ended.wait()


def run_by_hand(send: bytes) -> tuple[int, str]:
    """Run a worker as `python -m camsvc.worker`, send it bytes; return its exit code and stderr."""
    ours, theirs = socket.socketpair()
    block = SharedBlock.create()
    with ours, theirs, contextlib.closing(block):
        descriptors = [str(theirs.fileno()), str(block.fd)]
        arguments = [*descriptors, str(os.getpid()), SIMULATED.driver, json.dumps({})]
        process = subprocess.Popen(
            [sys.executable, "-m", "camsvc.worker", *arguments],
            pass_fds=(theirs.fileno(), block.fd),
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()  # else nothing ends the wait where it does not start
        started = codec.FROM_WORKER.receive(ours.makefile("rb"))
        ours.sendall(send)
        ours.shutdown(socket.SHUT_WR)
        _, said = process.communicate(timeout=CALL_S)
    assert started == (0, m.Started(codec.PROTOCOL))
    return process.returncode, said


def test_a_worker_ends_with_its_pipe() -> None:
    assert run_by_hand(b"") == (0, "")


def test_a_worker_whose_pipe_fails_ends_and_says_why() -> None:
    code, said = run_by_hand((5).to_bytes(4, "little") + b"hello")
    assert code == 1
    assert "ProtocolViolation: not a message" in said


async def test_another_interpreter_runs_the_worker_without_the_services_packages(
    start: StartWorker, tmp_path: Path
) -> None:
    """It is started by path, and sees camsvc, but none of the service's own packages."""
    made = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare"))
    )
    async with asyncio.timeout(START_S):
        assert await made.wait() == 0
    python = tmp_path / "bare" / "bin" / "python"
    worker = await start(Launch.of(MISDEEDS.driver, str(python), dict(MISDEEDS.env)))
    answer = await worker.call(opening(), CALL_S)
    assert answer.device.details == {
        "python": str(python),
        "camsvc": str(Path(camsvc.__file__).parent),
        "service's packages": "",
        "sandbox": "off",
    }
    # It has no Pillow either.
    assert answer.device.warnings == [exif.NO_PILLOW]
    still = await worker.call(m.Capture(Shot(), '{"plant": "7"}'), CALL_S)
    assert files_of(worker, still) == [TINY_JPEG]
    worker.kill("enough")
    with contextlib.suppress(WorkerLost):
        await worker.call(m.Ping(), CALL_S)
