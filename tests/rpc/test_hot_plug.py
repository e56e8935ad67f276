"""A camera that is unplugged is told as such at once, and found soon when it is back."""

from pathlib import Path

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camsvc_client import error_info

from tests.conftest import StartService
from tests.rpc.test_health import NOT_SERVING, status
from tests.support import plugins
from tests.support.live import Status, Watcher
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.timing import timing

IDLE_NOTICED_S = 1.5
"""An idle camera is looked after once a second."""

READ_NOTICED_S = 0.5
FOUND_S = 2.0
"""A camera that is away is looked for once a second."""


class Plug:
    """What `PluggedCamera` looks for; beside it, why it is not there."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "plug"
        self.put_in()

    def put_in(self) -> None:
        self.path.touch()

    def pull(self) -> None:
        self.path.unlink()

    def say(self, cause: str) -> None:
        """Let the camera be away for this cause."""
        self.path.with_suffix(".cause").write_text(cause)


@pytest.fixture
def plug(tmp_path: Path) -> Plug:
    return Plug(tmp_path)


async def start(start_service: StartService, plug: Plug) -> Service:
    options = {"plug": str(plug.path)}
    return await start_service(
        camera("cam", driver="plugins:PluggedCamera", env=plugins.ENV, options=options)
    )


@pytest.mark.timed
async def test_a_camera_unplugged_while_idle(start_service: StartService, plug: Plug) -> None:
    service = await start(start_service, plug)
    await service.capture("cam")
    workers = {process.pid for process in service.workers()}
    plug.pull()
    with timing() as took:
        await service.wait_for_state(pb.Camera.STATE_AWAY, "cam")
    took.assert_within(IDLE_NOTICED_S)
    assert await status(service, "camera/cam") == NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.capture("cam", timeout=CALL_S)
    info = error_info(caught.value)
    assert info.reason == "CAMERA_UNAVAILABLE"
    assert "it is unplugged" in info.message
    assert info.retry_delay_s is not None
    plug.put_in()
    with timing() as took:
        await service.wait_for_state(pb.Camera.STATE_READY, "cam")
    took.assert_within(FOUND_S)
    assert workers <= {process.pid for process in service.workers()}, "no worker had to be killed"


@pytest.mark.timed
async def test_a_camera_unplugged_while_streaming(start_service: StartService, plug: Plug) -> None:
    service = await start(start_service, plug)
    async with Watcher(service, "cam") as watcher:
        for _ in range(2):
            await watcher.until_frames(5)
            plug.pull()
            with timing() as took:
                told = await watcher.until_state(Status.STATE_RECOVERING)
            took.assert_within(READ_NOTICED_S)
            assert "it is unplugged" in told.reason
            plug.put_in()
            await watcher.until_frames(1, within_s=FOUND_S)
