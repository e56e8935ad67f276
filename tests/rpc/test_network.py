"""Cameras on the network, through the service: one stream, fresh stills, each cause told."""

import asyncio
import itertools
import time
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import error_info

from tests.conftest import StartService
from tests.support.canary import CANARY
from tests.support.http_camera import (
    HttpCamera,
    Request,
    Viewer,
    number_of,
    numbered,
    streaming,
)
from tests.support.live import Watcher
from tests.support.ports import held_port
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.timing import timing
from tests.support.waiting import until

ON_ITS_WAY_S = 0.05


def network(camera_id: str, url: str, **keys: Any) -> str:
    return camera(camera_id, driver="opencv", source=url, **keys)


async def still(service: Service, served: HttpCamera, camera_id: str) -> None:
    """Take a still: the camera's own picture, and sent after it was asked for."""
    asked = time.monotonic()
    response = await service.capture(camera_id)
    found = number_of(response.image_data)
    assert found is not None
    own = numbered(found)
    assert response.image_data.endswith(own[own.index(b"\xff\xdb") :]), "not encoded again"
    assert served.sent[found] >= asked - ON_ITS_WAY_S
    image = response.capture.image
    assert (image.width_px, image.height_px) == (64, 48)


def snapshots() -> "HttpCamera":
    count = itertools.count()
    return HttpCamera(lambda _, viewer: viewer.picture(numbered(next(count))))


async def test_pauses_longer_than_a_stall_end_no_stream(start_service: StartService) -> None:
    """Ten pictures a second in bursts, and nothing for longer than `stall_timeout_s` and a still's
    attempt: that is how the camera is. Neither is it opened again."""
    bursts = streaming(10 / 1.5, burst=10)
    with HttpCamera(bursts) as gate, snapshots() as door:
        service = await start_service(
            network("gate", gate.url("/x"), stall_timeout_s=0.5, attempt_timeout_s=1.0)
            + network("door", door.url("/x"), stall_timeout_s=0.5)
        )
        async with Watcher(service, "gate") as watcher, Watcher(service, "door") as other:
            await watcher.until_frames(1)
            for _ in range(3):
                await still(service, gate, "gate")
                await still(service, door, "door")
            await watcher.until_frames(4)
            await other.until_frames(10)
        for frame in [*watcher.frames, *other.frames]:
            assert frame.data == numbered(number_of(frame.data) or 0), "passed on as it is"
        assert watcher.changes == ["STARTING", "LIVE"]
        assert other.changes == ["STARTING", "LIVE"]
        assert gate.connections == 1
        assert door.connections == 1
        shown = (await service.camera("gate")).camera
        assert not [r for r in shown.statistics.recoveries if r.count]
        assert shown.details["integrity"] == "each picture is checked"


async def test_a_wrong_password_is_sent_once_until_somebody_resets(
    start_service: StartService,
) -> None:
    """However many ask, and whoever watches."""

    def script(_: Request, viewer: Viewer) -> None:
        viewer.answer("401 Unauthorized", WWW_Authenticate='Digest realm="x", nonce="a"')

    with HttpCamera(script) as gate:
        service = await start_service(network("gate", gate.url("/x", login=f"admin:{CANARY}")))
        async with Watcher(service, "gate") as watcher:
            await service.wait_for_state(pb.Camera.STATE_FAULTED, "gate")
            for _ in range(5):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await service.capture("gate")
                info = error_info(caught.value)
                assert info.reason == "CAMERA_FAULTED"
                assert "refuses the user or the password" in info.message
            await asyncio.sleep(1.5)  # in which nothing may be tried
        assert watcher.changes[-1] == "OFFLINE"
        assert gate.logins == 1
        with pytest.raises(grpc.aio.AioRpcError):
            await service.stub.ResetCamera(api.ResetCameraRequest(camera="gate"), timeout=CALL_S)
        assert gate.logins == 2
        shown = str((await service.camera("gate")).camera)
        assert CANARY not in shown + service.log_text()
        assert "127.0.0.1" not in shown


@pytest.mark.timed
async def test_a_camera_that_goes_away_and_comes_back(start_service: StartService) -> None:
    with held_port() as port:
        service = await start_service(network("gate", f"http://127.0.0.1:{port}/x"))
        with timing() as took, pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.capture("gate")
        assert "refuses the connection" in error_info(caught.value).message
        took.assert_within(2.0)  # with the start of a worker
        for _ in range(2):
            with HttpCamera(streaming(20), port=port) as gate:
                with timing() as took:
                    await service.wait_for_state(pb.Camera.STATE_READY, "gate")
                took.assert_within(2.0)
                await still(service, gate, "gate")
            with timing() as took:
                await service.wait_for_state(pb.Camera.STATE_AWAY, "gate")
            took.assert_within(1.5)
        fault = (await service.camera("gate")).camera.fault
        assert "refuses the connection" in fault.message


async def test_a_picture_that_never_changes_is_warned_of(start_service: StartService) -> None:
    """It is no failure: the warning comes after ten seconds of it, and goes with a new picture."""
    numbers = itertools.repeat(7, 1_000_000)
    frozen = [True]

    def script(_: Request, viewer: Viewer) -> None:
        viewer.begin_stream()
        for count in itertools.count():
            viewer.part(numbered(next(numbers) if frozen[0] else count))
            viewer.pause(0.1)

    with HttpCamera(script) as gate:
        service = await start_service(network("gate", gate.url("/x")))
        async with Watcher(service, "gate") as watcher:

            async def warned() -> bool:
                return bool((await service.camera("gate")).camera.warnings)

            await until(warned, "there is a warning", within_s=15)
            (warning,) = (await service.camera("gate")).camera.warnings
            assert "same picture, byte for byte" in warning
            await service.capture("gate")
            frozen[0] = False

            async def gone() -> bool:
                return not await warned()

            await until(gone, "the warning has gone", within_s=5)
        assert watcher.changes == ["STARTING", "LIVE"]
