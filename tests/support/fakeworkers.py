"""Cameras whose workers may do anything, on a loop with virtual time.

A `Stage` has the loop, the archive and the calls under way; a `FakeCamera` is a camera with its
workers on it; a `Rig` is one camera with a stage of its own.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from camsvc.camera.camera import Camera
from camsvc.camera.view import CameraView
from camsvc.ipc import messages as m
from camsvc.ipc.messages import AnswerT, ImageInfo
from camsvc.ipc.observer import WorkerObserver
from camsvc.ipc.shared_memory import SharedBlock
from camsvc.model.errors import (
    CameraServiceError,
    DeviceAway,
    DriverError,
    DriverFault,
    Unsupported,
    WorkerLost,
    WorkerTimeout,
)
from camsvc.model.options import CameraOptions
from camsvc.model.values import DeviceInfo
from tests.support.fakearchive import FakeArchive
from tests.support.loops import new_virtual_loop
from tests.support.options import camera_options

OPTIONS = camera_options(attempts=3, attempt_timeout_s=10.0, open_timeout_s=15.0, queue_limit=3)
TICK_S = 0.01  # what a bound may be passed by: steps of the event loop take no virtual time

COMMAND_S, SLOW_S = 0.1, 7.0

WELL = "well"
MISDEEDS = ("hang", "slow", "error", "away", "fault", "refuse", "die")


class MortalWorker:
    """How a worker ends, and who hears of it."""

    def __init__(self) -> None:
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.observer = WorkerObserver()
        self.driver_state = b""
        self.memory = SharedBlock(-1)

    pid = 1

    @property
    def alive(self) -> bool:
        return not self.gone

    @property
    def gone(self) -> bool:
        return self._gone.done()

    def attach(self, camera: str, observer: WorkerObserver) -> None:
        self.observer = observer
        self._gone.add_done_callback(lambda _: observer.on_ended())

    async def wait_ended(self) -> None:
        await asyncio.wait([self._gone])

    def die(self) -> None:
        if not self.gone:
            self._gone.set_result(None)


class FakeWorker(MortalWorker):
    """Does to each command what its camera's script says next, and then behaves."""

    numbers: ClassVar = itertools.count(1)

    def __init__(self, camera: "FakeCamera") -> None:
        super().__init__()
        self._camera = camera
        self.under_way = 0
        self.killed = False
        self.driver_state = str(next(self.numbers)).encode()

    def send(self, notice: m.Notice) -> None:
        if isinstance(notice, m.Unprepare):
            self._camera.unprepared += 1

    def take_live(self, images: Sequence[m.SharedImage]) -> list[bytes]:
        return [b"frame" for _ in images]

    def kill(self, why: str, *, dump_stack: bool = False) -> None:
        self.killed = True
        if self._camera.lingers_s:
            asyncio.get_running_loop().call_later(self._camera.lingers_s, self.die)
        else:
            self.die()

    async def call(self, command: m.Command[AnswerT], timeout_s: float) -> AnswerT:
        stage = self._camera.stage
        stage.demand(self._camera.worker is self, "a worker that was given up is called")
        stage.demand(not self.under_way, "two commands at once")
        if self.gone:
            raise WorkerLost("it is dead")
        if isinstance(command, m.Capture):
            # As with a real one, it is sent before anything is waited for.
            self._camera.pressed.append(stage.loop.time())
        self.under_way += 1
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._answer(command)
        except TimeoutError:
            raise WorkerTimeout("no answer") from None
        finally:
            self.under_way -= 1
        assert isinstance(answer, command.answer_type())
        return answer

    async def _answer(self, command: m.Command[Any]) -> Any:
        deed = self._camera.script.pop(0) if self._camera.script else WELL
        if isinstance(command, m.Capture) and deed != "refuse":
            self.observer.on_progress(0)
            for pause_s, percent in self._camera.reports:
                await self._pause(pause_s)
                self.observer.on_progress(percent)
        await self._do(deed)
        await self._pause(COMMAND_S)
        if self.gone:
            raise WorkerLost("it died")
        match command:
            case m.Open():
                self._camera.opened.append(command)
                guess_s = self._camera.expected_s
                return m.Opened(DeviceInfo("fake", ["JPEG"], expected_capture_s=guess_s))
            case m.Capture():
                self._camera.shots += 1
                taken_ns = int(self._camera.pressed[-1] * 1e9)
                image = ImageInfo(7, "image/jpeg", 1, 1, taken_ns)
                return m.Captured(image, COMMAND_S, 0.0)
            case m.ListControls() | m.SetControls():
                return m.Controls([])
            case _:
                return m.Done()

    async def _do(self, deed: str) -> None:
        match deed:
            case "hang":
                await asyncio.wait([self._gone])
                raise WorkerLost("killed")
            case "slow":
                await self._pause(SLOW_S)
            case "error":
                raise DriverError("scripted")
            case "away":
                raise DeviceAway("scripted")
            case "fault":
                raise DriverFault("scripted")
            case "refuse":
                raise Unsupported("scripted")
            case "die":
                await self._pause(COMMAND_S / 2)
                self.die()

    async def _pause(self, seconds: float) -> None:
        await asyncio.wait([self._gone], timeout=seconds)


class FakeCamera:
    """A camera and its workers. `script` is what they do to the next commands."""

    def __init__(self, stage: "Stage", options: CameraOptions = OPTIONS) -> None:
        self.stage = stage
        self.script: list[str] = []
        self.expected_s = COMMAND_S
        """What the driver says that a still takes."""
        self.reports: list[tuple[float, int]] = []
        """After which pauses in a still it reports how far it is, in percent."""
        self.worker: FakeWorker | None = None
        self.workers: list[FakeWorker] = []
        self.pressed: list[float] = []
        """When the shutter was."""
        self.shots = 0
        """Pictures that came of it."""
        self.unprepared = 0
        self.opened: list[m.Open] = []
        """What its workers were asked to open it with."""
        self.take_worker: Callable[[], Awaitable[FakeWorker]] = self.take
        self.lingers_s = 0.0
        """How long a worker that is killed takes to go, with the device in its hands."""
        self.camera: Camera = stage.run(self._made(options))
        stage.cameras.append(self)

    async def _made(self, options: CameraOptions) -> Camera:
        async def take() -> FakeWorker:  # a test may replace it
            return await self.take_worker()

        return Camera(options, take, self.stage.archive)

    @property
    def view(self) -> CameraView:
        """The camera as it is now."""

        async def view() -> CameraView:
            return self.camera.view()

        seen: CameraView = self.stage.run(view())
        return seen

    async def take(self) -> FakeWorker:
        if self.script and self.script[0] == "no worker":
            self.script.pop(0)
            raise WorkerLost("it could not be started")
        replaced = self.worker is None or self.worker.gone
        self.stage.demand(replaced, "a worker is replaced that still runs")
        self.worker = FakeWorker(self)
        self.workers.append(self.worker)
        return self.worker


@dataclass(eq=False)
class Call:
    """A client's call, which has to be answered by its bound."""

    task: "asyncio.Task[Any]"
    bound: float
    left: bool = False

    def leave(self) -> None:
        """Go away, as a client does whose connection breaks."""
        self.left = True
        self.task.cancel()


class Stage:
    """The loop, the archive, the cameras and the calls under way."""

    def __init__(self) -> None:
        self.loop = new_virtual_loop()
        self.loop.set_exception_handler(lambda _, about: self.wrong.append(str(about)))
        self.archive = FakeArchive()
        self.cameras: list[FakeCamera] = []
        self.calls: list[Call] = []
        self.wrong: list[str] = []
        """What nobody may do, and somebody has done: an error would end in whoever did."""

    def demand(self, holds: bool, text: str) -> None:
        """Fail whoever asks for what does not hold, and the test."""
        if not holds:
            self.wrong.append(text)
        assert holds, text

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def settle(self) -> None:
        """Let what fell due at this very moment take effect."""
        for _ in range(10):
            self.run(asyncio.sleep(0))

    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))
        self.settle()

    def begin(self, work: Coroutine[Any, Any, Any], bound_s: float) -> Call:
        call = Call(self.loop.create_task(work), self.loop.time() + bound_s + TICK_S)
        self.calls.append(call)
        self.run(asyncio.sleep(0))
        return call

    def check_calls(self) -> None:
        """Look whether each call was answered in time, and by a picture or one of our errors."""
        now = self.loop.time()
        for call in self.calls:
            assert call.task.done() or now <= call.bound, f"unanswered since {now - call.bound} s"
            if call.task.done() and call.task.cancelled():
                assert call.left, "a call was cancelled whose client has not left"
            elif call.task.done():
                error = call.task.exception()
                assert error is None or isinstance(error, CameraServiceError), repr(error)
        self.calls = [call for call in self.calls if not call.task.done()]
        assert not [*self.wrong, *self.archive.wrong]

    def close(self) -> None:
        """End everything, and leave no task behind."""
        for fake in self.cameras:
            self.run(fake.camera.close())
        self.run(asyncio.sleep(1))
        left = list(asyncio.all_tasks(self.loop))
        self.loop.close()
        assert not left, f"tasks left behind: {left}"
        workers = [worker for camera in self.cameras for worker in camera.workers]
        assert all(worker.killed for worker in workers), "a worker was never killed"
        assert not [*self.wrong, *self.archive.wrong]


class Rig(FakeCamera):
    """One camera with a stage of its own."""

    def __init__(self, options: CameraOptions = OPTIONS) -> None:
        stage = Stage()
        super().__init__(stage, options)
        self.loop, self.archive = stage.loop, stage.archive
        self.run, self.wait, self.begin = stage.run, stage.wait, stage.begin
        self.close = stage.close
