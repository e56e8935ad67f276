"""Many readers of a long history: memory stays, and a capture is hardly delayed.

The long history, replayed to its end: ENDURANCE=full. The data lie in memory, so that what is
measured is the service and not the disk; the readers' process gives way, as if it were on another
machine.
"""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from tests.support import endurance, replaying
from tests.support.ledger import Ledger, captures, last_sequence
from tests.support.past import lived
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.smalldisk import SmallDisk
from tests.support.timing import Timings
from tests.support.waiting import finished, until

pytestmark = pytest.mark.timeout(endurance.TIMEOUT_S)

CAPTURES = endurance.times(10_000)
READERS = 100
REPLAY_S = 3000.0 if endurance.FULL else 8.0
WARM_UP = 50
AT_LEAST = 50

MIB = 2**20
SIZE = "size=400m"
GROWTH_BYTES = 20e6
DELAY_S = 0.020
STUCK_BYTES = 5 * MIB

SCENE = camera(
    "cam0",
    width_px=160,
    height_px=120,
    capture_duration_s=0.02,
    controls={"exposure_duration_us": 100},
    open_at_start=True,
)


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[SmallDisk]:
    async with SmallDisk(tmp_path / "data", SIZE) as disk:
        yield disk


@pytest.fixture
async def calm(tmp_path: Path) -> AsyncIterator[Service]:
    """Give another service, of which nobody reads: what the machine itself does to both."""
    folder = tmp_path / "calm"
    folder.mkdir()
    async with (
        SmallDisk(folder / "data", SIZE) as disk,
        Service(folder, SCENE, entering=disk.entering) as service,
    ):
        yield service


async def begun_with(disk: SmallDisk, captures: int, folder: Path) -> int:
    """Put a long life's data on the disk; return how many events they have."""
    events = await lived(folder / "past", captures, ("cam0", "cam1"))
    await asyncio.to_thread(shutil.copytree, folder / "past", disk.path, dirs_exist_ok=True)
    return events


async def take(service: Service, ledger: Ledger) -> None:
    """Take a picture."""
    await ledger.capture(service, ledger.request("cam0"))


def concerned(service: Service) -> tuple[int, ...]:
    """Return the processes that a capture goes through."""
    return service.ps.pid, *(worker.pid for worker in service.workers())


def rss(service: Service) -> int:
    return int(service.ps.memory_info().rss)


@pytest.mark.timed
async def test_a_hundred_readers_that_replay_all_hardly_delay_a_capture(
    disk: SmallDisk, calm: Service, tmp_path: Path
) -> None:
    """Compared with captures of a calm service in the same moments."""
    last = await begun_with(disk, CAPTURES, tmp_path)
    ledger = Ledger(tmp_path, endurance.chance())
    async with Service(tmp_path, SCENE, entering=disk.entering) as service:
        await captures(service)  # large answers have been sent, and code is loaded
        for _ in range(WARM_UP):
            await take(service, ledger)
            await take(calm, ledger)
        before = most = rss(service)
        process = await asyncio.create_subprocess_exec(
            *("nice", "-n", "19", sys.executable, replaying.__file__, service.address),
            *(str(READERS), str(last), str(REPLAY_S)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        reading = asyncio.create_task(finished(process, within_s=2 * REPLAY_S))
        read, unread = Timings(), Timings()
        ours, theirs = concerned(service), concerned(calm)
        while not reading.done():
            with read.one(*ours):
                await take(service, ledger)
            with unread.one(*theirs):
                await take(calm, ledger)
            most = max(most, rss(service))
        code, out, said = await reading
    assert code == 0, said
    told = json.loads(out)
    print(f"{last} events; each reader has read {min(told['places'])} or more")
    print(f"{sum(told['places']) / told['seconds']:.0f} events/s in {told['seconds']:.1f} s")
    print(f"read: {read}; calm: {unread}")
    print(f"RSS {before / 1e6:.1f} MB, grown by {(most - before) / 1e6:.1f} MB")
    assert min(told["places"]) == last or not endurance.FULL
    assert min(told["places"]) > 0
    assert len(read.all) >= AT_LEAST
    assert most - before < GROWTH_BYTES
    read.assert_within(unread.percentile_s(99) + DELAY_S, percent=99)


async def test_readers_that_never_read_cost_no_memory(disk: SmallDisk, tmp_path: Path) -> None:
    """What they do not take stays in the journal."""
    events = await begun_with(disk, 500, tmp_path)
    ledger = Ledger(tmp_path, endurance.chance())
    async with Service(tmp_path, SCENE, entering=disk.entering) as service:
        for _ in range(WARM_UP):
            await take(service, ledger)
        # A small window, as else a client's transport takes megabytes for it.
        own = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.aio.insecure_channel(service.address, options=own)
        request = api.CaptureEventsRequest(after_sequence=0)
        stuck = [CameraServiceStub(channel).CaptureEvents(request) for _ in range(READERS)]
        await asyncio.gather(*(call.read() for call in stuck))
        before = rss(service)
        for _ in range(150):
            await take(service, ledger)
        grown = rss(service) - before
        print(f"RSS {before / 1e6:.1f} MB, grown by {grown / 1e6:.2f} MB")
        assert grown < STUCK_BYTES
        assert await last_sequence(service) == events + 2 * (WARM_UP + 150)
        await channel.close()


async def test_downloads_that_are_left_leave_nothing_open(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, endurance.chance())

    async def leave(service: Service, capture_id: str) -> None:
        variant = ledger.rng.choice(api.DownloadImageRequest.Variant.values())
        request = api.DownloadImageRequest(capture_id=capture_id, variant=variant)
        call = service.stub.DownloadImage(request, timeout=CALL_S)
        await asyncio.wait(
            [asyncio.ensure_future(call.code())], timeout=ledger.rng.uniform(0, 0.02)
        )
        call.cancel()

    async with Service(tmp_path, SCENE) as service:
        kept = await ledger.capture(service, ledger.request("cam0"))
        await ledger.download(service, kept.capture_id)
        for _ in range(60):
            await asyncio.gather(*(leave(service, kept.capture_id) for _ in range(10)))

        async def closed() -> bool:
            return not [f for f in service.ps.open_files() if "captures" in f.path]

        await until(closed, "no picture is open", within_s=5)
        await ledger.delete(service, kept.capture_id)
