"""A disk that keeps nothing: told before the shutter, and over as soon as its cause is."""

import asyncio
import contextlib
import glob
import resource
import shutil
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub
from camsvc_client import error_info
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.history import download, sha256
from tests.support.ledger import Reader, actuations, last_sequence
from tests.support.metrics import metric
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.smalldisk import SmallDisk
from tests.support.waiting import finished, until

ENDED_S = 5.0
"""Promised: how long after the end of its cause a fault of the disk is over."""

LOCKED_S = 8.0

SERVING = int(health_pb2.HealthCheckResponse.SERVING)
NOT_SERVING = int(health_pb2.HealthCheckResponse.NOT_SERVING)
Event = pb.CaptureEvent


async def refused(service: Service, request_id: str = "", *, retries: bool = False) -> str:
    """Have a capture end with STORAGE_UNAVAILABLE, which is not tried again; return the message."""
    async with service.connect(retries=retries) as channel:
        stub = CameraServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Capture(api.CaptureRequest(camera="sim0", request_id=request_id), timeout=15)
    info = error_info(caught.value)
    assert info.reason == "STORAGE_UNAVAILABLE", info
    assert info.code is grpc.StatusCode.FAILED_PRECONDITION
    assert info.retry_delay_s is None
    assert str(service.data_dir) not in info.message
    return info.message


async def health(service: Service) -> int:
    stub = health_pb2_grpc.HealthStub(service.channel)
    request = health_pb2.HealthCheckRequest(service="storage")
    return int((await stub.Check(request, timeout=CALL_S)).status)


async def presses(service: Service) -> int:
    return (await actuations(service))["sim0"]


async def until_well(service: Service) -> None:
    async def well() -> bool:
        return await health(service) == SERVING

    await until(well, "pictures can be kept again", within_s=ENDED_S)


async def until_ill(service: Service) -> None:
    async def ill() -> bool:
        return await health(service) == NOT_SERVING

    await until(ill, "health tells it", within_s=ENDED_S)


async def stories(service: Service) -> list[str]:
    """Return all events so far, by their types."""
    reader = Reader()
    await reader.follow(service, up_to=await last_sequence(service))
    return [Event.Type.Name(event.type).removeprefix("TYPE_") for event in reader.events]


async def until_swept(service: Service) -> None:
    async def swept() -> bool:
        return not list((service.data_dir / "staging").iterdir())

    await until(swept, "nothing is left in staging", within_s=CALL_S)


def delete(folder: Path) -> None:
    """Delete a folder at once: the service would make new ones in it meanwhile."""
    gone = folder.resolve().rename(folder.resolve().parent.parent / str(uuid.uuid4()))
    shutil.rmtree(gone)


@contextlib.asynccontextmanager
async def locked(journal: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Have another process hold the journal."""
    program = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "db.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(journal)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"locked\n"
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        assert await finished(process, within_s=CALL_S) == (0, "", "")


@contextlib.contextmanager
def no_descriptors(service: Service) -> Iterator[None]:
    """Leave the service none but those that it has open."""
    before = resource.prlimit(service.ps.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(service.ps.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.prlimit(service.ps.pid, resource.RLIMIT_NOFILE, before)


async def test_a_read_only_disk_is_told_before_the_shutter(tmp_path: Path) -> None:
    async with (
        SmallDisk(tmp_path / "data", "size=24m") as disk,
        Service(tmp_path, camera(), entering=disk.entering) as service,
    ):
        await service.capture()
        pressed = await presses(service)
        async with disk.read_only():
            for retries in (False, True):
                assert "EROFS" in await refused(service, str(uuid.uuid4()), retries=retries)
            assert await presses(service) == pressed
            await until_ill(service)
            assert await metric(service, "camsvc_storage_available") == 0
        await until_well(service)
        assert await metric(service, "camsvc_storage_available") == 1
        await service.capture()
        assert await presses(service) == pressed + 1
        events = [entry["event"] for entry in service.log()]
        assert events.count("storage unavailable") == 1
        assert events.count("storage available again") == 1


async def test_a_locked_journal_is_told_before_the_shutter(tmp_path: Path) -> None:
    async with Service(tmp_path, camera()) as service:
        await service.capture()
        pressed = await presses(service)
        async with locked(service.data_dir / "journal.sqlite3"):
            started = asyncio.get_running_loop().time()
            while asyncio.get_running_loop().time() < started + LOCKED_S:
                assert "locked" in await refused(service, str(uuid.uuid4()), retries=True)
            assert await presses(service) == pressed
        await until_well(service)
        await service.capture()
        assert await presses(service) == pressed + 1
        told = await stories(service)
        assert told.count("SUCCEEDED") == 2
        assert "REJECTED" in told, "what was refused is told when it can be"


async def test_a_picture_that_cannot_be_kept_is_kept_for_the_retry(tmp_path: Path) -> None:
    """The shutter is pressed once for both calls."""
    async with Service(tmp_path, camera(capture_duration_s=1.0)) as service:
        await service.capture()
        pressed = await presses(service)
        request_id = str(uuid.uuid4())
        call = asyncio.ensure_future(refused(service, request_id, retries=True))
        await service.wait_for_state(pb.Camera.STATE_CAPTURING)
        async with locked(service.data_dir / "journal.sqlite3"):
            await call
            assert await refused(service, request_id)
        await until_well(service)
        response = await service.capture(request_id=request_id)
        assert response.replayed
        assert await presses(service) == pressed + 1
        again = await service.capture(request_id=request_id)
        assert again.capture == response.capture
        await until_swept(service)
        told = await stories(service)
        assert (told.count("SUCCEEDED"), told.count("FAILED")) == (2, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_it_is_kept_for_a_retry_after_the_next_start_too(tmp_path: Path, number: int) -> None:
    request_id = str(uuid.uuid4())
    async with Service(tmp_path, camera(capture_duration_s=1.0)) as service:
        await service.capture()
        call = asyncio.ensure_future(refused(service, request_id, retries=True))
        await service.wait_for_state(pb.Camera.STATE_CAPTURING)
        async with locked(service.data_dir / "journal.sqlite3"):
            await call
            await service.stop(number)
    async with Service(tmp_path, camera()) as service:
        response = await service.capture(request_id=request_id)
        assert response.replayed
        data = await download(service, response.capture.capture_id)
        assert sha256(data.data) == response.capture.image.sha256
        await until_swept(service)


@pytest.mark.parametrize("lost", ["staging", "captures", "captures/*", "."])
async def test_folders_that_were_deleted_are_made_anew(tmp_path: Path, lost: str) -> None:
    async with Service(tmp_path, camera()) as service:
        first = await service.capture()
        pressed = await presses(service)
        for folder in glob.glob(str(service.data_dir / lost)):
            delete(Path(folder))
        second = await service.capture()
        assert await presses(service) == pressed + 1
        kept = service.data_dir / "captures"
        assert list(kept.glob(f"*/{second.capture.capture_id}.jpg"))
        told = await stories(service)
        assert told == ["STARTED", "SUCCEEDED"] * 2
    async with Service(tmp_path, camera()) as service:
        assert await stories(service) == told, "the journal was put back"
        listed = await service.stub.ListCaptures(api.ListCapturesRequest(), timeout=CALL_S)
        ids = {c.capture_id for c in listed.captures}
        assert ids == {first.capture.capture_id, second.capture.capture_id}


@pytest.mark.parametrize("lost", ["captures", "."])
async def test_folders_deleted_in_the_middle_of_a_capture(tmp_path: Path, lost: str) -> None:
    """Where the picture is lost with them, that is told, and its id takes another."""
    async with Service(tmp_path, camera(capture_duration_s=1.0)) as service:
        request_id = str(uuid.uuid4())
        call = asyncio.ensure_future(service.capture(request_id=request_id))

        async def staged() -> bool:
            return any((service.data_dir / "staging").iterdir())

        await until(staged, "the worker has its file", within_s=CALL_S)
        delete(service.data_dir / lost)
        if lost == "captures":
            await call
        else:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert error_info(caught.value).reason == "STORAGE_UNAVAILABLE"
        await until_well(service)
        await service.capture(request_id=request_id)
        assert "SUCCEEDED" in await stories(service)


async def test_without_descriptors_no_shutter_is_pressed(tmp_path: Path) -> None:
    async with Service(tmp_path, camera()) as service:
        soft, hard = resource.prlimit(service.ps.pid, resource.RLIMIT_NOFILE)
        assert soft == min(hard, 65_536), "it was raised at the start"
        await service.capture()
        pressed = await presses(service)
        with no_descriptors(service):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await service.capture()
            assert error_info(caught.value).reason == "STORAGE_UNAVAILABLE"
            assert "EMFILE" in error_info(caught.value).message
            assert await presses(service) == pressed
            await until_ill(service)
        await until_well(service)
        await service.capture()
        assert (await stories(service)).count("REJECTED") == 1


async def test_descriptors_used_up_in_the_middle_of_a_capture(tmp_path: Path) -> None:
    """It ends FAILED, that is told, and its request id leads to the picture."""
    async with Service(tmp_path, camera(capture_duration_s=1.0)) as service:
        await service.capture()
        pressed = await presses(service)
        request_id = str(uuid.uuid4())
        call = asyncio.ensure_future(service.capture(request_id=request_id))
        await service.wait_for_state(pb.Camera.STATE_CAPTURING)
        with no_descriptors(service):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert error_info(caught.value).reason == "STORAGE_UNAVAILABLE"
        await until_well(service)
        assert (await service.capture(request_id=request_id)).replayed
        assert await presses(service) == pressed + 1

        async def told() -> bool:
            return (await stories(service)).count("FAILED") == 1

        await until(told, "its end is told")
        listed = await service.stub.ListCaptures(api.ListCapturesRequest(), timeout=CALL_S)
        states = sorted(pb.Capture.State.Name(c.state) for c in listed.captures)
        assert states == ["STATE_FAILED", "STATE_SUCCEEDED", "STATE_SUCCEEDED"]


async def test_a_clean_stop_in_an_abandoned_shot_leaves_nothing_in_staging(tmp_path: Path) -> None:
    async with Service(tmp_path, camera(capture_duration_s=1.0)) as service:
        call = service.stub.Capture(
            api.CaptureRequest(camera="sim0", request_id=str(uuid.uuid4())), timeout=CALL_S
        )
        await service.wait_for_state(pb.Camera.STATE_CAPTURING)
        call.cancel()
        assert await service.stop() == 0
        assert not list((service.data_dir / "staging").iterdir())
