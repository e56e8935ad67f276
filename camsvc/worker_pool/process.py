"""The service's side of a worker: start, call, supervise, kill.

Invariants: nothing here blocks the event loop; every call is answered, by the worker, by its
time-out or by the worker's end; a worker that ended fails all its pending calls, after what it
had still sent was read.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from camsvc.ipc import codec
from camsvc.ipc import messages as m
from camsvc.ipc.messages import AnswerT
from camsvc.ipc.observer import WorkerObserver
from camsvc.ipc.packing import ProtocolViolation
from camsvc.ipc.shared_memory import PICTURE_SLOT, THUMBNAIL_SLOT, SharedBlock
from camsvc.model.errors import WorkerLost, WorkerTimeout
from camsvc.model.options import Launch
from camsvc.system import posix
from camsvc.worker_pool import stderr
from camsvc.worker_pool.live_slots import LiveSlots
from camsvc.worker_pool.pipe import WorkerPipe
from camsvc.worker_pool.spawn import Spawned, spawn

_STACK_DUMP_S = 0.05
"""How long a hung worker has to write where it hangs before it is killed."""

_DRAIN_S = 0.5
"""How long the pipe of an ended process is read on: a child of its own may hold it open."""

_CLOSED_S = 1.0
"""How long a worker whose pipe has ended has to end itself: then its exit code says why."""

_MAX_UNREAD_BYTES = 8 << 20
"""Several of the largest commands."""

_INTERNAL_ERROR = "an internal error, see the service's log"

LIVENESS_INTERVAL_S = 5.0
"""An idle worker is pinged this often, and killed when it takes as long to answer."""


class WorkerProcess:
    """A running worker process. Make one with `start`."""

    def __init__(self, spawned: Spawned, driver: str, liveness_interval_s: float) -> None:
        self._process = spawned.process
        self._pipe = WorkerPipe(spawned.pipe)
        self._stderr, self._stderr_end = spawned.stderr
        self._last_words: deque[str] = deque(maxlen=stderr.KEPT_LINES)
        self._block = spawned.block
        self._liveness_interval_s = liveness_interval_s
        self._log = structlog.get_logger().bind(driver=driver, pid=self.pid)
        self._observer = WorkerObserver()
        """Does nothing: a warm worker has no camera."""
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._killed_for = ""
        self._ended = False
        self._last_state = b""
        self._live_slots = LiveSlots()
        self._supervision = asyncio.create_task(self._supervise(), name=f"worker {self.pid}")

    @classmethod
    async def start(
        cls, launch: Launch, *, liveness_interval_s: float = LIVENESS_INTERVAL_S
    ) -> "WorkerProcess":
        """Start a process and wait until it has imported its driver.

        Call from the main thread: the kernel kills a worker when the thread that started it ends.

        Raises:
            WorkerLost: it could not be started, or ended at once.
        """
        worker = cls(await spawn(launch), launch.driver, liveness_interval_s)
        try:
            await asyncio.shield(worker._started)
        except BaseException:
            worker.kill("it did not start")
            raise
        return worker

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether calls can still be answered."""
        return not self._killed_for and self._process.returncode is None

    @property
    def driver_state(self) -> bytes:
        """What the driver keeps for the camera's next worker; readable when it has ended, too."""
        return self._last_state if self._ended else self._block.read_state()

    def attach(self, camera: str, observer: WorkerObserver) -> None:
        """Give it to a camera, whose id its log entries have from now on."""
        self._log = self._log.bind(camera=camera)
        self._observer = observer
        if self._ended:
            asyncio.get_running_loop().call_soon(self._notify, observer.on_ended)

    async def call(self, command: m.Command[AnswerT], timeout_s: float) -> AnswerT:
        """Send a command and return its answer.

        Raises:
            DriverError, DriverFault, Unsupported, InvalidRequest: the driver's own.
            StorageFull, StorageUnavailable: a picture could not be written; the camera is well.
            WorkerTimeout: no answer within `timeout_s`; the worker still hangs then.
            WorkerLost: the worker ended before it answered.
        """
        if not self.alive:
            raise WorkerLost(self._end_text())
        return await self._pipe.call(command, timeout_s)

    def send(self, notice: m.Notice) -> None:
        """Send what is not answered."""
        self._pipe.send(notice)
        if self._pipe.unread_bytes > _MAX_UNREAD_BYTES:
            self.kill("it does not read what it is sent")

    @property
    def memory(self) -> SharedBlock:
        """The memory in which stills are handed over, until the worker has ended."""
        return self._block

    def take_live(self, images: Sequence[m.SharedImage]) -> list[bytes]:
        """Copy the pictures of a live frame out of the shared memory and give their slots back.

        Raises:
            WorkerLost: the worker announced what it did not write.
        """
        try:
            return [self._block.read(image.slot, image.size_bytes) for image in images]
        finally:
            if released := self._live_slots.give_back(image.slot for image in images):
                self.send(m.Release(released))

    def give_picture(self, data: bytes, offset: int) -> None:
        """Copy a part of the picture that `Thumbnail` is about into the shared memory.

        Raises:
            OSError: there is no memory for it.
        """
        self._block.write(PICTURE_SLOT, data, offset)

    def take_thumbnail(self, made: m.Thumbnailed) -> bytes:
        """Copy a thumbnail out of the shared memory, and give all of that back to the system.

        Raises:
            WorkerLost: the worker announced what it did not write.
        """
        try:
            return self._block.read(THUMBNAIL_SLOT, made.size_bytes)
        finally:
            self._block.clear()

    def kill(self, why: str, *, dump_stack: bool = False) -> None:
        """End the process, whatever it does. Returns at once; see `wait_ended`.

        A process in an uninterruptible kernel call goes only when that returns; nobody waits.
        """
        if not self.alive:
            return
        self._killed_for = why
        if dump_stack:
            posix.ask_for_stack(self.pid)
            asyncio.get_running_loop().call_later(_STACK_DUMP_S, posix.kill_group, self.pid)
        else:
            posix.kill_group(self.pid)
        self._fail_pending()

    async def wait_ended(self) -> None:
        """Wait until the process has gone, and nothing of it is left."""
        await asyncio.shield(self._supervision)

    async def end(self, why: str, within_s: float) -> None:
        """Kill it and wait until nothing of it is left, for so long at most."""
        self.kill(why)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.wait_ended()

    async def _supervise(self) -> None:
        """Own the process until it has gone: receive what it sends, then clean up after it."""
        try:
            await self._hear_until_it_ends()
        except Exception:
            self._log.exception("unhandled exception in the supervision of a worker")
            self.kill(_INTERNAL_ERROR)
            await self._process.wait()
        finally:
            self._clean_up()

    def _clean_up(self) -> None:
        try:
            with contextlib.ExitStack() as steps:  # each is done, whatever becomes of the others
                steps.callback(self._note_end)
                steps.callback(self._stderr_end.close)
                steps.callback(self._pipe.close)
                steps.callback(self._block.close)
                posix.kill_group(self.pid)  # what its libraries have started
                self._last_state = self._block.read_state()
        except Exception:
            self._log.exception("unhandled exception after the end of a worker")

    async def _hear_until_it_ends(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            hearing = [
                tasks.create_task(self._receive_all(), name=f"receive {self.pid}"),
                tasks.create_task(self._log_stderr(), name=f"stderr {self.pid}"),
            ]
            watching = tasks.create_task(self._watch(), name=f"liveness {self.pid}")
            await self._process.wait()
            watching.cancel()
            await asyncio.wait(hearing, timeout=_DRAIN_S)
            for task in hearing:
                task.cancel()

    def _note_end(self) -> None:
        self._ended = True
        last_words = "\n".join(self._last_words)
        if not self._killed_for or last_words:
            self._log.warning("worker ended", how=self._end_text(), last_words=last_words or None)
        self._fail_pending()
        self._notify(self._observer.on_ended)

    def _fail_pending(self) -> None:
        self._pipe.fail(self._end_text())
        if not self._started.done():
            self._started.set_exception(WorkerLost(self._end_text()))
            self._started.exception()  # nobody may be waiting any more

    async def _receive_all(self) -> None:
        try:
            while (message := await self._pipe.receive()) is not None:
                self._dispatch(message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSED_S):
                    await self._process.wait()
            self.kill("it closed its pipe")
        except ProtocolViolation as violation:
            self.kill(f"protocol violation: {violation}")

    def _dispatch(self, message: m.Started | m.Event) -> None:
        if isinstance(message, m.Started):
            if message.protocol != codec.PROTOCOL:
                self.kill("it is of another version of camsvc: restart the service")
            elif not self._started.done():  # it may have been killed meanwhile
                self._started.set_result(None)
        elif self.alive:
            match message:
                case m.SharedFrame():
                    self._live_slots.announce(message)
                    self._notify(self._observer.on_live_frame, message)
                case m.Lost(failure):
                    self._notify(self._observer.on_live_lost, failure)
                case m.Changed(device):
                    self._notify(self._observer.on_device_changed, device)
                case m.Progress(percent):
                    if self._pipe.busy:
                        self._notify(self._observer.on_progress, percent)

    def _notify(self, hook: Callable[..., None], *arguments: object) -> None:
        try:
            hook(*arguments)
        except WorkerLost as error:
            self.kill(str(error))
        except Exception:
            self._log.exception("unhandled exception in a worker's observer")
            self.kill(_INTERNAL_ERROR)

    async def _log_stderr(self) -> None:
        said = stderr.LinesPerSecond()
        async for line in stderr.lines(self._stderr):
            self._last_words.append(line)
            count = said.count(time.monotonic())
            if count <= stderr.MAX_LOGGED_PER_S:
                self._log.debug("worker says", line=line)
            elif count == stderr.MAX_LOGGED_PER_S + 1:
                self._log.debug("worker says more than is logged", limit_per_s=count - 1)

    async def _watch(self) -> None:
        """Kill an idle worker that does not answer. A busy one has its call's time-out."""
        while self.alive:
            await asyncio.sleep(self._liveness_interval_s)
            if self._pipe.busy or not self._started.done() or not self.alive:
                continue
            try:
                await self.call(m.Ping(), self._liveness_interval_s)
            except WorkerTimeout:
                if not self._pipe.busy:
                    self.kill("it stopped answering while idle", dump_stack=True)
            except WorkerLost:
                return

    def _end_text(self) -> str:
        if self._killed_for:
            return f"the worker was killed: {self._killed_for}"
        how = _exit_text(self._process.returncode)
        if any("std::bad_alloc" in line for line in self._last_words):
            how += ": there was not enough memory for it (`worker_memory_bytes` in [service])"
        return how


def _exit_text(code: int | None) -> str:
    if code is None:
        return "the worker closed its pipe"
    name = posix.signal_name(code)
    if name == "SIGALRM":  # a driver's own, around calls that nothing else can end
        return "the worker ended itself (SIGALRM): the camera's library hung"
    if name == "SIGKILL":
        return "the worker was killed by SIGKILL: memory was short, or somebody did it"
    return f"the worker was killed by {name}" if name else f"the worker ended with exit code {code}"
