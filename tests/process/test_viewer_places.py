"""Places of viewers that take nothing: a stopped process, and a loop that was left by `break`."""

import asyncio
import signal
import sys
from pathlib import Path

from camapi.v1 import camera_service_pb2 as api

from tests.support.live import Watcher
from tests.support.scenes import camera
from tests.support.service import Service
from tests.support.waiting import until

FREED_S = 60.0

VIEWER = """
import sys
import grpc
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

stub = CameraServiceStub(grpc.insecure_channel(sys.argv[1]))
for message in stub.LiveView(api.LiveViewRequest(camera="sim0", max_fps=1, max_width_px=32)):
    print(message.WhichOneof("payload"), flush=True)
"""
"""It takes so little that what is sent to it fills no buffer, for hours."""


async def test_they_are_free_again_within_a_minute(tmp_path: Path) -> None:
    async with Service(tmp_path, camera(max_viewers=3)) as service, Watcher(service) as watcher:
        stopped = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", VIEWER, service.address), stdout=asyncio.subprocess.PIPE
        )
        try:
            assert stopped.stdout is not None
            async with asyncio.timeout(FREED_S):
                while await stopped.stdout.readline() != b"frame\n":
                    pass
            stopped.send_signal(signal.SIGSTOP)
            left = service.stub.LiveView(api.LiveViewRequest(camera="sim0"))
            async for message in left:
                if message.HasField("frame"):
                    break

            async def all_but_one_have_gone() -> bool:
                return (await service.camera()).camera.statistics.live_viewers == 1

            assert (await service.camera()).camera.statistics.live_viewers == 3
            await until(all_but_one_have_gone, "their places are free", within_s=FREED_S)
        finally:
            stopped.kill()
            await stopped.wait()
        await watcher.until_frames()
        assert not left.done(), "it has all of its frames to take before it is told"
        left.cancel()
