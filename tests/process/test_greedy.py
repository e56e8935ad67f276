"""One greedy caller beside an honest one, which has its share of everything."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import grpc
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub
from camsvc_client import error_info

from tests.support.history import WAIT
from tests.support.live import pixels_of
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.waiting import until

SHARE = 0.4
CAPTURES = 10
WIDTH = 500
WAITS, VIEWERS, RESETS, DOWNLOADS = 100, 64, 20, 50
SETTINGS = camera(width_px=640, height_px=480, capture_duration_s=0.1, max_viewers=64)
"""A camera whose places for viewers the greedy caller takes all."""

Work = Callable[[], Awaitable[Any]]


class Greedy:
    """A caller that takes all it can get, over one connection."""

    def __init__(self, service: Service) -> None:
        self._channel = service.connect()
        self._stub = CameraServiceStub(self._channel)
        self._tasks: list[asyncio.Task[None]] = []
        self.captures = 0
        self.refused = Counter[str | None]()

    async def _again(self, work: Work) -> None:
        while True:
            try:
                await work()
            except grpc.aio.AioRpcError as error:
                info = error_info(error)
                self.refused[info.reason] += 1
                await asyncio.sleep(min(info.retry_delay_s or 0.0, 0.1))

    async def _capture(self) -> None:
        await self._stub.Capture(api.CaptureRequest(camera="sim0", busy_policy=WAIT))
        self.captures += 1

    async def _watch(self) -> None:
        async for _ in self._stub.LiveView(api.LiveViewRequest(camera="sim0", max_fps=1)):
            pass

    async def _reset(self) -> None:
        await self._stub.ResetCamera(api.ResetCameraRequest(camera="sim0"))

    def begin(self, capture_id: str) -> None:
        """Begin with captures, viewers and downloads, and go on for ever."""

        async def download() -> None:
            stream = self._stub.DownloadImage(api.DownloadImageRequest(capture_id=capture_id))
            await stream.read()
            await asyncio.sleep(CALL_S)  # it takes no more

        self._repeat(self._capture, WAITS)
        self._repeat(self._watch, VIEWERS)
        self._repeat(download, DOWNLOADS)

    def reset(self) -> None:
        """Begin with resets, too."""
        self._repeat(self._reset, RESETS)

    def _repeat(self, work: Work, times: int) -> None:
        self._tasks += [asyncio.create_task(self._again(work)) for _ in range(times)]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._channel.close()


async def first_frame(service: Service) -> pb.LiveFrame:
    stream = service.stub.LiveView(api.LiveViewRequest(camera="sim0", max_width_px=WIDTH))
    try:
        async with asyncio.timeout(CALL_S):
            async for message in stream:
                if message.HasField("frame"):
                    return message.frame
    finally:
        stream.cancel()
    raise AssertionError("the stream has ended")


async def shared(service: Service, greedy: Greedy, captures: int) -> None:
    """Take pictures one after the other, and look how many the greedy caller has meanwhile."""
    before = greedy.captures
    for _ in range(captures):
        await service.capture(busy_policy=WAIT)
    both = captures + greedy.captures - before
    assert captures / both >= SHARE, f"{captures} of {both}"


async def test_an_honest_caller_has_its_share_of_everything(tmp_path: Path) -> None:
    async with Service(tmp_path, SETTINGS) as service, Greedy(service) as greedy:
        greedy.begin((await service.capture()).capture.capture_id)

        async def has_all_there_is() -> bool:
            viewers = (await service.camera()).camera.statistics.live_viewers
            return viewers == VIEWERS and bool(greedy.refused["QUEUE_FULL"])

        await until(has_all_there_is, "the greedy caller has all", within_s=CALL_S)
        await shared(service, greedy, CAPTURES)
        assert pixels_of(await first_frame(service)).shape[1] == WIDTH
        greedy.reset()
        await shared(service, greedy, CAPTURES // 2)
        request = api.ResetCameraRequest(camera="sim0")
        reset = await service.stub.ResetCamera(request, timeout=CALL_S)
        assert reset.camera.state in (pb.Camera.STATE_READY, pb.Camera.STATE_CAPTURING)
        assert pixels_of(await first_frame(service)).shape[1] == WIDTH
