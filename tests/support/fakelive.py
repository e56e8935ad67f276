"""A camera's live view against a worker that delivers what a test tells it to, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Self

from camsvc.camera.camera import Camera
from camsvc.camera.view import CameraView
from camsvc.images import codec
from camsvc.ipc import messages as m
from camsvc.ipc.messages import ImageInfo
from camsvc.live.spec import LiveSpec
from camsvc.live.viewer import LiveFrame, LiveState, LiveStatus, Viewer
from camsvc.model.errors import DriverError, DriverFault, WorkerLost, WorkerTimeout
from camsvc.model.values import DeviceInfo, LiveVariant
from tests.support.fakearchive import FakeArchive
from tests.support.fakeworkers import MortalWorker
from tests.support.loops import new_virtual_loop
from tests.support.options import camera_options

FPS = 30
COMMAND_S = 0.1
OPTIONS = camera_options(attempt_timeout_s=10.0, open_timeout_s=15.0, stall_timeout_s=2.0)


class LiveWorker(MortalWorker):
    """Answers commands by the rig's script, else well; remembers what it is told to read."""

    def __init__(self, rig: "LiveRig") -> None:
        super().__init__()
        self._rig = rig
        self.reading: list[LiveVariant] = []
        self.released = 0

    def send(self, notice: m.Notice) -> None:
        if isinstance(notice, m.SetLive):
            self.reading = notice.variants

    def take_live(self, images: Sequence[m.SharedImage]) -> list[bytes]:
        self.released += len(images)
        return [f"{self._rig.delivered} {image.variants}".encode() for image in images]

    def kill(self, why: str, *, dump_stack: bool = False) -> None:
        self.die()

    async def call(self, command: m.Command[Any], timeout_s: float) -> Any:
        if self.gone:
            raise WorkerLost("it is dead")
        if isinstance(command, m.Recover | m.Close):
            self.reading = []
        deed = self._rig.script.pop(0) if self._rig.script else ""
        seconds = self._rig.command_s if deed != "hang" else timeout_s + 1
        await asyncio.wait([self._gone], timeout=min(seconds, timeout_s))
        if self.gone:
            raise WorkerLost("it died")
        if seconds > timeout_s:
            raise WorkerTimeout("no answer")
        match deed:
            case "error":
                raise DriverError("scripted error")
            case "fault":
                raise DriverFault("scripted fault")
        match command:
            case m.Open():
                return m.Opened(self._rig.device)
            case m.Capture():
                return m.Captured(ImageInfo(5, "image/jpeg", 1, 1, 1), 0.1, 0.0)
            case m.ListControls() | m.SetControls():
                return m.Controls([])
            case _:
                return m.Done()


class Watching:
    """A viewer that fetches at once, or only when told to; remembers what it got, and when."""

    def __init__(self, rig: "LiveRig", spec: LiveSpec, *, fetches: bool) -> None:
        self._rig = rig
        self.spec, self.fps, self.fetches = spec, spec.max_fps, fetches
        self.since = rig.loop.time()
        self.items: list[tuple[float, LiveFrame | LiveStatus]] = []
        self.error: BaseException | None = None
        self.left_at: float | None = None
        self._watching = rig.camera.watch(spec)
        self.viewer: Viewer = rig.run(rig.made(self._watching.__enter__))
        self._task = rig.loop.create_task(self._fetch()) if fetches else None
        rig.settle()

    async def _fetch(self) -> None:
        try:
            while True:
                item = await self.viewer.next()
                self.items.append((self._rig.loop.time(), item))
        except Exception as error:
            self.error = error

    def fetch(self) -> LiveFrame | LiveStatus:
        """Fetch what is there, for a viewer that does not do so by itself."""
        item: LiveFrame | LiveStatus = self._rig.run(asyncio.wait_for(self.viewer.next(), 0.001))
        return item

    @property
    def frames(self) -> list[LiveFrame]:
        return [item for _, item in self.items if isinstance(item, LiveFrame)]

    @property
    def statuses(self) -> list[LiveStatus]:
        return [item for _, item in self.items if isinstance(item, LiveStatus)]

    @property
    def states(self) -> list[str]:
        return [status.state.name for status in self.statuses]

    def leave(self) -> None:
        if self.left_at is not None:
            return
        self.left_at = self._rig.loop.time()
        if self._task is not None:
            self._task.cancel()
        self._rig.run(self._rig.made(lambda: self._watching.__exit__(None, None, None)))
        self._rig.settle()

    def check(self, until: float) -> None:
        """Whatever happened: sequences rise, frames come only while LIVE, silence is explained."""
        sequences = [frame.sequence for frame in self.frames]
        assert sequences == sorted(set(sequences)), "a frame is repeated, or older"
        least = codec.fit(*self._rig.size_px, self.spec.max_width_px, self.spec.max_height_px)
        for image in (frame.image for frame in self.frames):
            assert (image.width_px, image.height_px) >= least, "smaller than asked for"
        state, last_at = None, self.since
        until = until if self.left_at is None else self.left_at
        for at, item in [*self.items, (until, None)]:
            if state is not LiveState.LIVE and self.error is None and self._task is not None:
                assert at - last_at <= 1.01, f"{at - last_at:.2f} s without a word while {state}"
            last_at = at
            if isinstance(item, LiveStatus):
                state = item.state
                ill = state in (LiveState.RECOVERING, LiveState.OFFLINE)
                assert (item.error is not None) == ill, f"{state}: {item.error}"
                assert "None" not in item.reason
            elif item is not None:
                assert state is LiveState.LIVE, f"a frame while {state}"


class LiveRig:
    """A camera with its live view, on a loop with virtual time. Nothing but its worker is fake."""

    def __init__(self, **options: Any) -> None:
        self.loop = new_virtual_loop()
        self.script: list[str] = []
        self.command_s = COMMAND_S
        self.size_px = 1, 1
        self.device = DeviceInfo("fake", ["JPEG"], live_view=True, expected_capture_s=COMMAND_S)
        self.worker: LiveWorker | None = None
        self.workers = 0
        self.delivered = 0
        self.watching: list[Watching] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.camera: Camera = self.run(
            self.made(lambda: Camera(replace(OPTIONS, **options), self._take, FakeArchive()))
        )

    @property
    def view(self) -> CameraView:
        """The camera as it is now."""
        seen: CameraView = self.run(self.made(self.camera.view))
        return seen

    async def _take(self) -> LiveWorker:
        self.worker = LiveWorker(self)
        self.workers += 1
        return self.worker

    async def made(self, make: Callable[[], Any]) -> Any:
        """Call something on the event loop."""
        return make()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def settle(self) -> None:
        """Let what falls due at this moment take effect."""
        self.wait(0)

    def wait(self, seconds: float) -> None:
        self.run(self._wait(seconds))

    async def _wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        for _ in range(10):
            await asyncio.sleep(0)

    def begin(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = self.loop.create_task(work)
        task.add_done_callback(lambda t: t.cancelled() or t.exception())
        self.tasks.append(task)
        self.settle()
        return task

    def watch(self, *, fetches: bool = True, **spec: Any) -> Watching:
        watching = Watching(self, LiveSpec(**spec), fetches=fetches)
        self.watching.append(watching)
        return watching

    def open(self) -> None:
        """Let an opening camera become ready."""
        self.wait(self.command_s + 0.001)

    def now_ns(self) -> int:
        """Return the wall clock's time, which is virtual too."""
        return 10**18 + self.monotonic_ns()

    def monotonic_ns(self) -> int:
        """Return the monotonic clock's time, which is that of the loop."""
        return int(self.loop.time() * 1e9)

    def frame(
        self,
        *,
        skipped: int = 0,
        age_s: float = 0.0,
        encode_s: float = 0.001,
        reading: Sequence[LiveVariant] | None = None,
    ) -> None:
        """Deliver a frame, in each of the variants that the worker was told; none: nothing.

        `reading`: those that it was told before, as it has not seen the newest yet.
        """
        worker = self.worker
        assert worker is not None
        variants = worker.reading if reading is None else reading
        if not variants:
            return
        self.delivered += 1
        images = [
            m.SharedImage([variant.id], slot, 7, "image/jpeg", *self._size(variant))
            for slot, variant in enumerate(variants)
        ]
        age_ns = int(age_s * 1e9)
        times = self.now_ns() - age_ns, self.monotonic_ns() - age_ns
        self.deliver(m.SharedFrame(*times, images, encode_s, skipped, 0))

    def _size(self, variant: LiveVariant) -> tuple[int, int]:
        return codec.fit(*self.size_px, variant.max_width_px, variant.max_height_px)

    def deliver(self, event: m.LiveEvent) -> None:
        """Let the worker say something about live frames."""
        worker = self.worker
        assert worker is not None
        if isinstance(event, m.SharedFrame):
            self.run(self.made(lambda: worker.observer.on_live_frame(event)))
        else:
            self.run(self.made(lambda: worker.observer.on_live_lost(event.failure)))
        self.settle()

    def flow(self, seconds: float) -> None:
        """Deliver frames at the camera's rate for some time."""
        for _ in range(round(seconds * FPS)):
            self.wait(1 / FPS)
            self.frame()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is None:
            for watching in self.watching:
                watching.check(until=self.ended_at)

    def close(self) -> None:
        """End everything, and leave no task behind."""
        self.ended_at = self.loop.time()
        for watching in self.watching:
            watching.leave()
        for task in self.tasks:
            task.cancel()
        self.run(self.camera.close())
        self.run(asyncio.sleep(1))
        left = list(asyncio.all_tasks(self.loop))
        assert not left, f"tasks left behind: {left}"
        self.loop.close()
