"""A disk that fills up: captures are refused or fail, nothing is lost, and it works again."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import error_info

from tests.support import endurance
from tests.support.ledger import Ledger, Reader, actuations, captures, last_sequence
from tests.support.live import Watcher
from tests.support.load import Load
from tests.support.metrics import metric
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.smalldisk import SmallDisk
from tests.support.waiting import finished, until

pytestmark = pytest.mark.timeout(endurance.TIMEOUT_S)

MIB = 2**20
DISK = "size=24m"
LARGE: dict[str, Any] = {"width_px": 2400, "height_px": 1800}
PNG = pb.ImageOptions(format=pb.ImageOptions.FORMAT_PNG)
"""Of a LARGE camera: almost a megabyte."""
AT_LEAST = 8
"""Such pictures that fit the disk."""

Event = pb.CaptureEvent


@dataclass
class Scene:
    """A service with its data on a small disk, and who watches it."""

    folder: Path
    disk: SmallDisk
    ledger: Ledger
    reader: Reader

    def service(self, settings: str) -> Service:
        return Service(self.folder, settings, entering=self.disk.entering)

    async def events(self, service: Service) -> list[pb.CaptureEvent]:
        """Return all events so far."""
        await self.reader.follow(service, up_to=await last_sequence(service))
        return self.reader.events

    async def until_event(
        self, service: Service, kind: "Event.Type.ValueType", of: str = ""
    ) -> pb.CaptureEvent:
        """Wait for an event of a kind, and of a capture if one is named."""
        while True:
            for event in self.reader.events:
                if event.type == kind and of in ("", event.capture_id):
                    return event
            await self.reader.follow(service, up_to=self.reader.place + 1)

    def staging(self) -> list[str]:
        return [path.name for path in (self.disk.path / "staging").iterdir()]


@pytest.fixture
async def scene(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    async with SmallDisk(tmp_path / "data", getattr(request, "param", DISK)) as disk:
        ledger = Ledger(tmp_path, endurance.chance())
        ledger.data = disk.path
        yield Scene(tmp_path, disk, ledger, Reader())


def large(ledger: Ledger) -> api.CaptureRequest:
    request = ledger.request("sim0")
    request.image.CopyFrom(PNG)
    return request


async def refused(call: "asyncio.Task[pb.Capture]") -> grpc.aio.AioRpcError:
    """The call ends with STORAGE_FULL, and says that a retry is of no use."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    info = error_info(caught.value)
    assert (info.code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL"), info
    assert info.retry_delay_s is None
    assert dict(caught.value.trailing_metadata() or ())["grpc-retry-pushback-ms"] == "-1"
    assert "delete captures" in info.message
    return caught.value


async def fill_by_captures(scene: Scene, service: Service) -> grpc.aio.AioRpcError:
    """Take pictures until there is no room for more; return how that was told."""
    while True:
        request = large(scene.ledger)
        pressed = await actuations(service)
        call = asyncio.ensure_future(scene.ledger.capture(service, request))
        await asyncio.wait([call])
        if call.exception() is not None:
            error = await refused(call)
            assert await actuations(service) == pressed, "no shutter was pressed"
            return error


async def test_a_disk_full_of_captures_is_told_before_the_shutter(scene: Scene) -> None:
    """And works again as soon as a capture is deleted."""
    async with scene.service(camera(**LARGE)) as service:
        await fill_by_captures(scene, service)
        ledger = scene.ledger
        assert len(ledger.acknowledged) >= AT_LEAST
        print(f"{len(ledger.acknowledged)} pictures, {scene.disk.free_bytes / MIB:.1f} MiB left")
        event = await scene.until_event(service, Event.TYPE_REJECTED)
        assert (event.camera, event.capture_id) == ("sim0", "")
        assert event.request_id in ledger.doubtful
        assert "STORAGE_FULL" in str(event.error.details)
        ledger.doubtful.clear()
        await ledger.check(service)
        for capture_id in list(ledger.acknowledged)[:3]:
            await ledger.delete(service, capture_id)
        await ledger.capture(service, large(ledger))
        await ledger.check(service)


@pytest.mark.parametrize("left_bytes", [0, MIB // 4], ids=["to the last byte", "but for events"])
async def test_a_disk_filled_in_the_middle_of_a_capture_fails_it_and_nothing_else(
    scene: Scene, left_bytes: int
) -> None:
    ledger = scene.ledger
    async with scene.service(camera(**LARGE, capture_duration_s=0.5)) as service:
        kept = await ledger.capture(service, large(ledger))
        request = large(ledger)
        call = asyncio.ensure_future(ledger.capture(service, request))
        await service.wait_for_state(pb.Camera.STATE_CAPTURING)
        scene.disk.fill(left_bytes)
        error = await refused(call)
        capture_id = error_info(error).metadata["capture_id"]

        async def swept() -> bool:
            return not scene.staging()

        await until(swept, "nothing is left in staging")
        names = [path.stem for path in scene.disk.path.glob("captures/*/*")]
        assert names == [kept.capture_id], "nothing half-written"
        # It goes on serving.
        await ledger.download(service, kept.capture_id)
        request_all = api.ListCapturesRequest(states=[pb.Capture.STATE_SUCCEEDED])
        listed = await service.stub.ListCaptures(request_all, timeout=CALL_S)
        assert [c.capture_id for c in listed.captures] == [kept.capture_id]
        async with Watcher(service) as watcher:
            await watcher.until_frames(3)
        await refused(asyncio.ensure_future(ledger.capture(service, large(ledger))))
        if left_bytes:
            async with asyncio.timeout(5):
                await scene.until_event(service, Event.TYPE_FAILED, capture_id)
        scene.disk.make_room()
        async with asyncio.timeout(10):
            event = await scene.until_event(service, Event.TYPE_FAILED, capture_id)
            await scene.until_event(service, Event.TYPE_REJECTED)
        assert "STORAGE_FULL" in str(event.error.details)
        assert event.capture.state == pb.Capture.STATE_FAILED
        shown = await service.stub.GetCapture(
            api.GetCaptureRequest(capture_id=capture_id), timeout=CALL_S
        )
        assert shown.capture == event.capture
        again = await ledger.capture(service, request)
        assert again.capture_id != capture_id
        ledger.doubtful.clear()
        await ledger.check(service)
        ledger.check_events(await scene.events(service))


async def test_a_deletion_makes_room_on_a_disk_without_a_byte_free(scene: Scene) -> None:
    ledger = scene.ledger
    async with scene.service("min_free_bytes = 0\n" + camera(**LARGE)) as service:
        await ledger.capture(service, large(ledger))
        first = await ledger.capture(service, large(ledger))
        kept = await ledger.capture(service, large(ledger))
        scene.disk.fill()
        await refused(asyncio.ensure_future(ledger.capture(service, large(ledger))))
        await ledger.delete(service, first.capture_id)
        await ledger.download(service, kept.capture_id)
        ledger.doubtful.clear()
        await ledger.check(service)


FILLED = endurance.times(200)
MAX_BYTES = 400_000
"""A hundred pictures: retention is always at work, too."""
MOMENT_S = 0.3
"""The longest that the disk is full, or not."""
LEFT_BYTES = (0, 0, 4096, 12_288, 40_960)
"""Room for nothing, for a row or two, or for a few pictures."""
SMALL = "".join(
    camera(
        name,
        width_px=160,
        height_px=120,
        capture_duration_s=0.0,
        controls={"exposure_duration_us": 100},
    )
    for name in ("cam0", "cam1", "cam2")
)


@pytest.mark.parametrize("scene", ["size=64m"], indirect=True, ids=[""])
async def test_a_disk_full_again_and_again_loses_nothing_that_was_acknowledged(
    scene: Scene,
) -> None:
    """Also where it is the journal that finds no room: pictures are let in to the last byte."""
    ledger, rng = scene.ledger, scene.ledger.rng
    ledger.max_bytes, ledger.min_age_s = MAX_BYTES, 0.0
    retention = f'[retention]\nmax_bytes = {MAX_BYTES}\nmin_age_s = 0\npinned_label = "keep=yes"\n'
    async with scene.service("min_free_bytes = 0\n" + retention + SMALL) as service:
        load = Load(ledger, service, ("cam0", "cam1", "cam2"))
        load.allowed |= {"STORAGE_FULL"}
        loading = asyncio.create_task(load.run([scene.reader]))
        for _ in range(FILLED):
            await asyncio.wait([loading], timeout=rng.uniform(0.0, MOMENT_S))
            scene.disk.fill(rng.choice(LEFT_BYTES))
            await asyncio.wait([loading], timeout=rng.uniform(0.0, MOMENT_S))
            scene.disk.make_room()
        load.stop()
        async with asyncio.timeout(CALL_S):
            await loading
        print(f"{dict(ledger.succeeded)}, refused {dict(load.refused)}")
        assert load.refused["STORAGE_FULL"] >= FILLED / 2

        async def told() -> bool:
            running = [c for c in await captures(service) if c.state == pb.Capture.STATE_RUNNING]
            return not running and not scene.staging()

        await until(told, "all that waited for room is in the journal")
        await ledger.check(service)
        ledger.check_events(await scene.events(service))


POLLS = 2000
AT_ONCE = 50


async def poll(service: Service, count: int) -> None:
    """Ask for captures that there is no room for."""
    request = api.CaptureRequest(camera="sim0", delivery=api.CaptureRequest.DELIVERY_REFERENCE)

    async def ask() -> None:
        for _ in range(count // AT_ONCE):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await service.stub.Capture(request, timeout=CALL_S)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))


async def test_a_full_disk_that_is_polled_loses_no_end_of_a_capture(scene: Scene) -> None:
    """Refusals are counted, and wait for room in one event: they push nothing out."""
    settings = camera(**LARGE) + camera("slow", **LARGE, capture_duration_s=0.5)
    async with scene.service(settings) as service:
        call = asyncio.ensure_future(scene.ledger.capture(service, scene.ledger.request("slow")))
        await service.wait_for_state(pb.Camera.STATE_CAPTURING, "slow")
        scene.disk.fill()
        capture_id = error_info(await refused(call)).metadata["capture_id"]
        await poll(service, POLLS)
        assert await metric(service, "camsvc_refusals_total", reason="STORAGE_FULL") == POLLS
        assert await metric(service, "camsvc_journal_backlog") <= 10
        scene.disk.make_room()
        async with asyncio.timeout(CALL_S):
            entry = await service.logged("journal written again")
        assert int(entry["dropped_writes"]) == 0
        shown = await service.stub.GetCapture(
            api.GetCaptureRequest(capture_id=capture_id), timeout=CALL_S
        )
        assert shown.capture.state == pb.Capture.STATE_FAILED
        await scene.ledger.delete(service, capture_id)
        assert await last_sequence(service) <= 10


async def test_a_service_killed_on_a_full_disk_asks_for_room_when_it_starts(scene: Scene) -> None:
    """It has a capture to end, and cannot. With room it has all that was acknowledged."""
    ledger = scene.ledger
    settings = "min_free_bytes = 0\n" + SMALL + camera("slow", capture_duration_s=CALL_S)
    async with scene.service(settings) as service:
        for name in ("cam0", "cam1", "cam2"):
            await ledger.capture(service, ledger.request(name))
        call = asyncio.ensure_future(ledger.capture(service, ledger.request("slow")))
        await service.wait_for_state(pb.Camera.STATE_CAPTURING, "slow")
        scene.disk.fill()
        service.send(signal.SIGKILL)
        await service.ended()
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    scene.disk.fill()
    process = await asyncio.create_subprocess_exec(
        *(*scene.disk.entering, sys.executable, "-m", "camsvc", "serve"),
        *("--config", str(scene.folder / "camsvc.toml"), "--listen", "127.0.0.1:0"),
        *("--data-dir", str(scene.folder / "data")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    code, _, said = await finished(process, within_s=CALL_S)
    assert code == 4, said
    assert said.startswith(f"camsvc: the data folder {scene.folder / 'data'} cannot be used: ")
    assert "no room" in said
    assert "Traceback" not in said
    scene.disk.make_room()
    ledger.doubtful.clear()
    async with scene.service(settings) as service:
        await ledger.check(service)
        events = await scene.events(service)
        ledger.check_events(events)
        assert events[-1].type == Event.TYPE_CANCELLED
