"""The service and its workers, killed at random instants under load: nothing acknowledged is lost.

A run in full: ENDURANCE=full.
"""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import psutil
import pytest
from camapi.v1 import camera_service_pb2 as api

from tests.support import endurance
from tests.support.ledger import Ledger, Reader, last_sequence
from tests.support.load import Load
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(endurance.TIMEOUT_S)

KILLS = endurance.times(200, part=10)
CAMERAS = ("cam0", "cam1", "cam2")
MAX_BYTES = 60_000
"""Some fifteen pictures: retention is always at work."""
MIN_AGE_S = 0.3
"""How long it leaves each of them: long enough for a reply to be lost and asked for again."""

LIFE_S = 0.6
"""The longest that a loaded service lives. Some ten captures a camera."""
STARTING, START_S = 0.15, 0.5
"""The part of the kills that come before the service has started, and how long that takes."""

RETENTION = f"""
[retention]
max_bytes = {MAX_BYTES}
min_age_s = {MIN_AGE_S}
pinned_label = "keep=yes"
"""
SCENE = RETENTION + "".join(
    camera(
        name,
        width_px=160,
        height_px=120,
        capture_duration_s=0.0,
        controls={"exposure_duration_us": 100},
        open_at_start=True,
    )
    for name in CAMERAS
)


async def start_and_kill(folder: Path, after_s: float) -> None:
    """Kill a service that has hardly begun: it reconciles what the last one has left."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "camsvc", "serve", "--config", str(folder / "camsvc.toml")),
        *("--listen", "127.0.0.1:0", "--data-dir", str(folder / "data")),
        stderr=asyncio.subprocess.DEVNULL,
    )
    await asyncio.sleep(after_s)
    process.kill()
    await process.wait()


async def check_events(service: Service, ledger: Ledger, readers: list[Reader]) -> None:
    """The readers have seen over all lives what one sees who begins now."""
    last = await last_sequence(service)
    fresh = Reader()
    for reader in (*readers, fresh):
        async with asyncio.timeout(30):
            await reader.follow(service, up_to=last)
    assert all(reader.events == fresh.events for reader in readers)
    ledger.check_events(fresh.events)
    print(f"{last} events")


async def test_whatever_was_acknowledged_survives_the_service(tmp_path: Path) -> None:
    rng = endurance.chance()
    ledger = Ledger(tmp_path, rng, MAX_BYTES, MIN_AGE_S)
    readers = [Reader(), Reader()]
    left_in_staging = unfinished = early = 0
    for kill in range(KILLS + 1):
        if kill and rng.random() < STARTING:
            early += 1
            await start_and_kill(tmp_path, rng.uniform(0.0, START_S))
        async with Service(tmp_path, SCENE) as service:
            assert list((ledger.data / "staging").iterdir()) == [], "swept before it serves"
            for entry in service.log():
                if entry.get("event") == "the last run ended suddenly":
                    left_in_staging += int(entry["swept"])
                    unfinished += int(entry["unfinished"])
                assert entry.get("event") != "capture has lost its picture", entry
            await ledger.check(service)
            if kill == KILLS:
                await check_events(service, ledger, readers)
                break
            load = asyncio.create_task(Load(ledger, service, CAMERAS).run(readers))
            await asyncio.wait([load], timeout=rng.uniform(0.0, LIFE_S))
            service.send(signal.SIGKILL)
            await service.ended()
            async with asyncio.timeout(10):
                await load
    print(f"{KILLS} kills and {early} early ones, {dict(ledger.succeeded)}")
    print(f"{unfinished} captures were under way, {left_in_staging} files in staging")


WORKER_KILLS = endurance.times(200, part=10)
BETWEEN_S = 0.1
"""The longest time between two of them, once all cameras take pictures again."""
IN_A_ROW = 0.2
"""The part of the kills that do not wait for that."""
OURS = {"CAMERA_UNAVAILABLE", "CAPTURE_NOT_FOUND", "CAMERA_BUSY", "QUEUE_FULL"}


async def well(service: Service) -> None:
    """Wait until each camera has taken a picture more."""
    before: dict[str, int] = {}

    async def taken() -> bool:
        shown = await service.stub.ListCameras(api.ListCamerasRequest(), timeout=CALL_S)
        counts = {c.camera: c.statistics.captures_succeeded for c in shown.cameras}
        before.update({name: count for name, count in counts.items() if name not in before})
        return all(count > before[name] for name, count in counts.items())

    await until(taken, "all cameras take pictures", within_s=60)


async def test_whatever_becomes_of_workers_every_call_is_answered(tmp_path: Path) -> None:
    """With a picture, or with an error of ours; and no picture that was acknowledged is lost."""
    rng = endurance.chance()
    ledger = Ledger(tmp_path, rng, MAX_BYTES, MIN_AGE_S)
    reader = Reader()
    killed = 0
    async with Service(tmp_path, SCENE) as service:
        load = Load(ledger, service, CAMERAS)
        load.allowed = set(OURS)
        loading = asyncio.create_task(load.run([reader]))
        while killed < WORKER_KILLS and not loading.done():
            if rng.random() >= IN_A_ROW:
                await well(service)
            await asyncio.wait([loading], timeout=rng.uniform(0.0, BETWEEN_S))
            workers = service.workers()
            if workers:
                with contextlib.suppress(psutil.NoSuchProcess):
                    rng.choice(workers).kill()
                    killed += 1
        load.stop()
        async with asyncio.timeout(60):
            await loading

        async def swept() -> bool:
            return not list((ledger.data / "staging").iterdir())

        await until(swept, "nothing is left in staging")
        await ledger.check(service)
        await check_events(service, ledger, [reader])
    print(f"{killed} kills, {dict(ledger.succeeded)}, refused {dict(load.refused)}")
