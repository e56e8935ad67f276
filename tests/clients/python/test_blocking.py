"""The blocking client is the asynchronous one, method by method, on a thread of its own."""

import asyncio
import gc
import inspect
import signal
import subprocess
import sys
import threading
import time

import pytest
from camsvc_client import (
    AsyncCameraClient,
    BlockingStream,
    CameraClient,
    CameraNotFound,
    Frame,
    Stream,
)

from tests.support.waiting import until


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_no_method_is_missing() -> None:
    assert inspect.signature(CameraClient) == inspect.signature(AsyncCameraClient)
    assert public(CameraClient) == public(AsyncCameraClient)
    assert public(BlockingStream) == public(Stream)


@pytest.mark.parametrize("name", sorted(public(AsyncCameraClient) - {"address"}))
def test_each_method_has_the_same_parameters_and_words(name: str) -> None:
    theirs, ours = getattr(AsyncCameraClient, name), getattr(CameraClient, name)
    assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters
    assert ours.__doc__
    assert "await" not in ours.__doc__
    assert "async" not in ours.__doc__


async def test_it_does_what_the_other_does(address: str) -> None:
    def use() -> None:
        with CameraClient(address) as client:
            picture = client.capture("sim0", timeout=30, labels={"a": "b"})
            assert picture.data
            assert [c.capture_id for c in client.list_captures(labels={"a": "b"})] == [
                picture.capture.capture_id
            ]
            with pytest.raises(CameraNotFound):
                client.get_camera("nono")
            with client.capture_events("sim0") as events:
                client.capture("sim0")
                assert next(events).capture_id
            for item in client.live_view("sim0"):
                if isinstance(item, Frame):
                    break
            assert client.address == address

    await asyncio.to_thread(use)


async def test_a_stream_is_closed_by_another_thread(address: str) -> None:
    def use() -> float:
        with CameraClient(address) as client:
            view = client.capture_events()
            timer = threading.Timer(0.5, view.close)
            timer.start()
            started = time.monotonic()
            assert list(view) == []
            timer.join()
            view.close()
            return time.monotonic() - started

    assert await asyncio.to_thread(use) < 5


async def test_closing_the_client_ends_everything(address: str) -> None:
    def use() -> None:
        client = CameraClient(address)
        view = client.live_view("sim0")
        next(view)
        timer = threading.Timer(0.5, client.close)
        timer.start()
        for _ in view:
            pass
        timer.join()
        client.close()
        view.close()
        with pytest.raises(RuntimeError, match="closed"):
            client.list_cameras()

    before = threading.active_count()
    await asyncio.to_thread(use)

    async def gone() -> bool:
        gc.collect()  # gRPC's own thread ends when the last of its objects has gone
        left = [thread.name for thread in threading.enumerate()]
        # The pool of to_thread has one.
        return "camsvc-client" not in left and len(left) <= before + 1

    await until(gone, "its thread has ended")


async def test_many_threads_share_a_client(address: str) -> None:
    def use(client: CameraClient, _: int) -> int:
        return len(client.list_cameras())

    with CameraClient(address) as client:
        calls = (asyncio.to_thread(use, client, number) for number in range(8))
        assert set(await asyncio.gather(*calls)) == {2}


FORGETFUL = """
import sys
from camsvc_client import CameraClient, Frame
client = CameraClient(sys.argv[1])
view = client.live_view("sim0")
while not isinstance(next(view), Frame):
    pass
print("a frame", flush=True)
"""

INTERRUPTED = """
import sys
from camsvc_client import CameraClient
client = CameraClient(sys.argv[1])
try:
    print("waiting", flush=True)
    list(client.capture_events())
except KeyboardInterrupt:
    print("interrupted", len(client.list_cameras()), flush=True)
"""


FORKED = """
import multiprocessing, sys
from camsvc_client import CameraClient

def use(client):
    try:
        (client or CameraClient(sys.argv[1])).list_cameras(timeout=5)
    except RuntimeError as error:
        print(error, flush=True)

client = CameraClient(sys.argv[1])
client.list_cameras()
for passed_on in (client, None):
    process = multiprocessing.get_context("fork").Process(target=use, args=(passed_on,))
    process.start()
    process.join(10)
    print(process.exitcode, flush=True)
print(len(client.list_cameras()), flush=True)
"""

LEAKY = """
import asyncio, os, sys, threading
from camsvc_client import AsyncCameraClient, CameraClient

async def watch():
    async with AsyncCameraClient(sys.argv[1]) as client, client.live_view("sim0") as view:
        await anext(view)

def count():
    ours = sum(thread.name == "camsvc-client" for thread in threading.enumerate())
    return ours, threading.active_count(), len(os.listdir("/proc/self/fd"))

counts = []
for number in range(12):
    with CameraClient(sys.argv[1]) as client:
        with client.live_view("sim0") as view:
            next(view)
    asyncio.run(watch())
    counts.append(count())
ours, threads, _ = map(max, zip(*counts))
descriptors = [count[2] for count in counts]
print(ours, threads, min(descriptors[8:]) - max(descriptors[:4]))
"""


BLOCKED = """
import sys, threading
from camsvc_client import CameraClient

def token():
    print("asked", flush=True)
    threading.Event().wait()

client = CameraClient(sys.argv[1], token=token)
threading.Thread(target=client.list_cameras, daemon=True).start()
while client.address and not sys.stdin.readline():
    pass
"""

CLEANED_UP = """
import asyncio, signal, threading
from camsvc_client.portal import Closed, Portal

async def work():
    try:
        if interrupted:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        else:
            close.start()
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.05)
        print("cleaned up", flush=True)

for interrupted in (True, False):
    portal = Portal()
    close = threading.Thread(target=portal.close)
    try:
        portal.run(work())
    except (Closed, KeyboardInterrupt) as error:
        print(type(error).__name__, flush=True)
    portal.close()
"""


def run(script: str, address: str, *, interrupt: bool = False) -> tuple[str, str, int]:
    """Run a program; return what it printed, its errors and its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if interrupt:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.5)  # until it waits in fact
        process.send_signal(signal.SIGINT)
        interrupted_at = time.monotonic()
        said = process.stdout.readline()
        assert time.monotonic() - interrupted_at < 1
        out, err = process.communicate(timeout=20)
        return said + out, err, process.returncode
    out, err = process.communicate(timeout=30)
    return out, err, process.returncode


async def test_a_program_that_forgets_to_close_ends_cleanly(address: str) -> None:
    assert await asyncio.to_thread(run, FORGETFUL, address) == ("a frame\n", "", 0)


async def test_ctrl_c_ends_a_wait_and_the_client_goes_on(address: str) -> None:
    said = await asyncio.to_thread(run, INTERRUPTED, address, interrupt=True)
    assert said == ("interrupted 2\n", "", 0)


async def test_a_callback_that_blocks_keeps_no_program_from_ending(address: str) -> None:
    def use() -> tuple[str, int]:
        process = subprocess.Popen(
            [sys.executable, "-c", BLOCKED, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        said = process.stdout.readline()
        process.communicate("\n", timeout=60)
        return said, process.returncode

    assert await asyncio.to_thread(use) == ("asked\n", 0)


async def test_a_call_that_is_ended_cleans_up_in_its_own_time(address: str) -> None:
    """Also where the clean-up has to wait; see ADR 17."""
    out, _, code = await asyncio.to_thread(run, CLEANED_UP, address)
    assert out.count("cleaned up") == 2
    assert ("KeyboardInterrupt" in out, "Closed" in out, code) == (True, True, 0)


async def test_what_does_not_survive_a_fork_says_so(address: str) -> None:
    """Neither a hang nor a crash in the new process; the old one goes on."""
    out, _, code = await asyncio.to_thread(run, FORKED, address)
    first, left, second, right, count = out.splitlines()
    assert first == second
    assert "forked while a client was open" in first
    assert (left, right, count, code) == ("0", "0", "2", 0)


async def test_no_thread_and_no_descriptor_is_left_by_closed_clients(address: str) -> None:
    out, err, code = await asyncio.to_thread(run, LEAKY, address)
    assert (err, code) == ("", 0)
    ours, threads, descriptors = map(int, out.split())
    assert ours == 0
    assert threads <= 2, "gRPC has one of its own, and a few descriptors, which come and go"
    assert descriptors <= 2, "of eight clients more, each of which might leave one"
