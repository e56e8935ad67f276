"""Whatever a worker sends, and however much: the service goes on, and the camera comes back.

At full length: ENDURANCE=full.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from camsvc.ipc import messages as m
from camsvc.ipc.observer import WorkerObserver
from camsvc.model.errors import CameraLost, CameraServiceError, DriverFault, WorkerLost
from camsvc.model.options import Launch
from camsvc.model.values import DeviceInfo
from camsvc.worker_pool import stderr
from camsvc.worker_pool.process import WorkerProcess
from tests.conftest import StartService
from tests.support import endurance, messages
from tests.support.attacks import ATTACKS
from tests.support.misdeeds import body, framed
from tests.support.puppet import STARTED, puppet
from tests.support.scenes import camera
from tests.support.service import worker_memory
from tests.support.timing import timing
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(endurance.TIMEOUT_S)

SUPPORT = Path(__file__).parents[1] / "support"
MISDEEDS = Launch.of("misdeeds:Misdeeds", None, {"PYTHONPATH": str(SUPPORT)})

DEAD_S = 0.2
CALL_S = 60.0
LONGEST_TURN_S = 0.05
SHARE, SAVED_S, SLACK_S = 0.35, 0.25, 0.1
"""Of the event loop's time, for what a worker sends, a quarter, and what waiting for it costs; what
may come at once; for the rest."""
FLOODED_S = 1.0
FUZZED = endurance.times(5_000) // (1 if endurance.FULL else 40)


@pytest.mark.timed
@pytest.mark.parametrize(
    "sent",
    [framed(attack) for name, attack in ATTACKS.items() if name != "the largest message"]
    + [b"\xff\xff\xff\xff", framed(body(7, m.Done()))],
    ids=[name for name in ATTACKS if name != "the largest message"] + ["too long", "no answer"],
)
async def test_a_worker_is_dead_at_once_after_what_it_may_not_send(sent: bytes) -> None:
    async with puppet() as there:
        await there.send(STARTED)
        call = asyncio.create_task(there.worker.call(m.Ping(), CALL_S))
        await asyncio.sleep(0)
        with timing() as took:
            await there.send(sent)
            with pytest.raises(WorkerLost, match="protocol violation: "):
                await call
            await there.process.wait()
        took.assert_within(DEAD_S)


@pytest.mark.parametrize(
    "first", [m.Done(), m.Progress(1), m.Lost(m.Failed("DriverError", ""))], ids=type
)
async def test_nothing_comes_before_the_start(first: Any) -> None:
    async with puppet() as there:
        await there.send(framed(body(0, first)))
        await there.process.wait()
        with pytest.raises(WorkerLost, match="a worker starts once, before all else"):
            await there.worker.call(m.Ping(), CALL_S)


async def test_a_worker_that_closes_its_pipe_is_ended() -> None:
    async with puppet() as there:
        await there.send(STARTED)
        call = asyncio.create_task(there.worker.call(m.Ping(), CALL_S))
        await asyncio.sleep(0)
        there.pipe.shutdown(socket.SHUT_WR)
        with pytest.raises(WorkerLost, match="the worker was killed: it closed its pipe"):
            await call


async def test_a_worker_that_never_reads_is_ended_before_much_waits_for_it() -> None:
    async with puppet() as there:
        await there.send(STARTED)
        slots, sent = m.Release([1] * 2**18), 0
        while there.worker.alive:
            there.worker.send(slots)
            sent += 1
        assert 10 < sent < 20, "of half a megabyte"
        with pytest.raises(WorkerLost, match="it does not read what it is sent"):
            await there.worker.call(m.Ping(), CALL_S)


async def test_the_next_capture_works(start_service: StartService, tmp_path: Path) -> None:
    done = tmp_path / "done"
    options = {"at_capture": "answer_another_command", "once": str(done)}
    ill = camera("ill", driver=MISDEEDS.driver, options=options, env=dict(MISDEEDS.env), attempts=1)
    service = await start_service(ill + ill.replace("attempts = 1", "").replace("ill", "again", 1))
    with pytest.raises(grpc.aio.AioRpcError, match="protocol violation"):
        await service.capture("ill")
    assert (await service.capture("ill")).capture.attempts == 1
    done.unlink()
    assert (await service.capture("again")).capture.attempts == 2


class Counting(WorkerObserver):
    """Counts what it hears; fetches frames as a camera does."""

    def __init__(self, worker: WorkerProcess) -> None:
        self.heard = 0
        self._worker = worker

    def on_live_frame(self, frame: m.SharedFrame) -> None:
        self.heard += 1
        self._worker.take_live(frame.images)

    def on_live_lost(self, failure: m.Failed) -> None:
        self.heard += 1

    def on_device_changed(self, device: DeviceInfo) -> None:
        self.heard += 1

    def on_progress(self, percent: int) -> None:
        self.heard += 1


async def test_everybody_has_a_turn_after_each_message() -> None:
    """Also where so many have come at once that none is waited for."""
    sent = STARTED + framed(body(0, m.Changed(DeviceInfo("changed", [])))) * 500
    async with puppet() as there:
        counting = Counting(there.worker)
        there.worker.attach("ill", counting)
        assert there.pipe.send(sent) == len(sent)
        most = heard = 0
        while heard < 500:
            await asyncio.sleep(0)
            most, heard = max(most, counting.heard - heard), counting.heard
        assert most == 1


@pytest.mark.parametrize(
    "kind",
    [
        "flood_with_progress",
        "flood_with_changes",
        "flood_with_losses",
        "flood_with_frames",
        "flood_stderr",
    ],
)
async def test_a_flood_leaves_the_event_loop_to_others(kind: str) -> None:
    """By the loop's own processor time: whatever else the machine does."""
    worker = await WorkerProcess.start(MISDEEDS)
    counting = Counting(worker)
    worker.attach("ill", counting)
    with capture_logs() as logs:
        call = asyncio.create_task(worker.call(m.Open({"deed": kind}, {}, b""), CALL_S))

        async def begun() -> bool:
            return counting.heard > 0 or bool(logs)

        await until(begun, "the flood comes")
        begun_at, used_s, longest_s = time.monotonic(), time.thread_time(), 0.0
        while time.monotonic() < begun_at + FLOODED_S:
            turn_s = time.thread_time()
            await asyncio.sleep(0.002)
            longest_s = max(longest_s, time.thread_time() - turn_s)
        took_s, used_s = time.monotonic() - begun_at, time.thread_time() - used_s
    print(f"{counting.heard} heard, {len(logs)} logged, {used_s:.3f} of {took_s:.3f} s used")
    assert worker.alive
    assert longest_s <= LONGEST_TURN_S
    assert used_s <= SHARE * took_s + SAVED_S + SLACK_S
    said = [entry for entry in logs if entry["event"] == "worker says"]
    assert len(said) <= stderr.MAX_LOGGED_PER_S * (took_s + 2)
    assert all(len(entry["line"]) <= stderr.LINE_BYTES for entry in said)
    worker.kill("enough")
    with pytest.raises(WorkerLost):
        await call
    await worker.wait_ended()


# Fuzzed: a worker's whole conversation.

ITEMS = st.one_of(
    st.tuples(st.sampled_from([0, 0, 1, 2]), messages.of(m.FromWorker)).map(
        lambda sent: framed(body(*sent))
    ),
    st.integers(0, 15).map(
        lambda slot: framed(
            body(
                0,
                m.SharedFrame(1, 1, [m.SharedImage([1], slot, 0, "", 1, 1)], 0.0, 0, 0),
            )
        )
    ),
    st.sampled_from(sorted(ATTACKS)),
    st.binary(max_size=50).map(framed),
    st.binary(max_size=50),
)


async def converse(items: Sequence[bytes | str]) -> None:
    async with puppet() as there:
        there.worker.attach("ill", Counting(there.worker))
        await there.send(STARTED)
        call = asyncio.create_task(there.worker.call(m.Open({}, {}, b""), CALL_S))
        await asyncio.sleep(0)
        for item in items:
            await there.send(framed(ATTACKS[item]) if isinstance(item, str) else item)
        await there.finish()
        there.worker.kill("it has said all")
        with contextlib.suppress(CameraLost, DriverFault, CameraServiceError):
            assert isinstance(await call, m.Opened)


@settings(max_examples=FUZZED, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(ITEMS, max_size=8))
def test_any_conversation_ends_in_order(items: list[bytes | str]) -> None:
    """The call ends, nothing unforeseen happens, nothing is left."""
    with capture_logs() as logs:
        asyncio.run(converse(items))
    assert not [entry for entry in logs if "unhandled" in entry["event"]]
    assert not worker_memory()
