"""The service's side of a worker: start, call, supervise, kill.

Invariants: nothing here blocks the event loop; every call is answered, by the worker, by its
time-out or by the worker's end; a worker that ended fails all its pending calls, after what it
had still sent was read.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import structlog

from camsvc.ipc import codec
from camsvc.ipc import messages as m
from camsvc.ipc.errors import error_of
from camsvc.ipc.messages import ImageInfo
from camsvc.ipc.shared_memory import NO_SLOT, SharedBlock
from camsvc.model.errors import WorkerLost, WorkerTimeout
from camsvc.model.values import DeviceInfo
from camsvc.system import posix
from camsvc.worker_pool.launch import Launch

_log = structlog.get_logger()

_PROGRAM = str(Path(__file__).parents[1] / "worker" / "__main__.py")

_STACK_DUMP_S = 0.05
"""How long a hung worker has to write where it hangs before it is killed."""

_DRAIN_S = 0.5
"""How long the pipe of an ended process is read on: a child of its own may hold it open."""

LIVENESS_INTERVAL_S = 5.0
"""An idle worker is pinged this often, and killed when it takes as long to answer."""


_RELEASED_TOGETHER = 4
"""Of the live frames' 16 slots. Each message wakes the worker, which costs it more than a frame of
a camera that encodes by itself."""

_LAST_WORDS = 60
"""Lines of stderr that are told when a worker has ended: the stacks of all its threads."""

_T = TypeVar("_T")
_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Worker:
    """A running worker process. Make one with `start`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        pipe: _Stream,
        stderr: _Stream,
        block: SharedBlock,
        name: str,
    ) -> None:
        self._process = process
        self._reader, self._writer = pipe
        self._stderr, self._stderr_end = stderr
        self._block = block
        self.name = name
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[m.Answer]] = {}
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._killed_for = ""
        self._last_notes = b""
        self.camera = ""
        """The camera that has it, for the log; a warm worker is nobody's."""
        self._taken: list[int] = []
        """Slots of live frames that are to be given back."""
        self.on_live: Callable[[m.LiveEvent], None] = lambda event: None
        self.on_changed: Callable[[DeviceInfo], None] = lambda device: None
        self.on_progress: Callable[[int], None] = lambda percent: None
        """Called with 0 to 100 while a call is pending, where the driver knows how far it is."""
        self.ended = asyncio.create_task(self._supervise(), name=f"worker {process.pid}")
        self._liveness = asyncio.create_task(self._watch(), name=f"liveness {process.pid}")

    @classmethod
    async def start(cls, launch: Launch) -> "Worker":
        """Start a process and wait until it has imported its driver.

        Call from the main thread: the kernel kills a worker when the thread that started it ends.

        Raises:
            WorkerLost: it could not be started, or ended at once.
        """
        with contextlib.ExitStack() as unless_started, contextlib.ExitStack() as theirs:
            block = SharedBlock.create()
            unless_started.callback(block.close)
            pipe, their_pipe = await _stream(unless_started, theirs)
            stderr, their_stderr = await _stream(unless_started, theirs)
            try:
                process = await asyncio.create_subprocess_exec(
                    launch.python,
                    _PROGRAM,
                    str(their_pipe.fileno()),
                    str(block.fd),
                    str(os.getpid()),
                    launch.driver,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    # Not asyncio's own PIPE: the process would count as running for as long as
                    # any child of its own holds that open.
                    stderr=their_stderr.fileno(),
                    pass_fds=(their_pipe.fileno(), block.fd),
                    process_group=0,  # to be killed with what its libraries start
                    env={**os.environ, **dict(launch.env)},
                )
            except OSError as error:
                # Neither the path nor the system's words for it: this text reaches clients.
                _log.error("worker not started", python=launch.python, error=str(error))
                kind = type(error).__name__
                raise WorkerLost(f"the worker could not be started: {kind}") from error
            # No await from here on: a process without a `Worker` would be nobody's.
            worker = cls(process, pipe, stderr, block, launch.driver)
            unless_started.pop_all()
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
        return not self.ended.done() and not self._killed_for

    @property
    def notes(self) -> bytes:
        """What the driver keeps for the camera's next worker; readable when it has ended, too."""
        return self._block.read_notes() if self._block.fd >= 0 else self._last_notes

    async def call(self, command: m.Command, timeout_s: float) -> m.Answer:
        """Send a command and return its answer.

        Raises:
            DriverError, DriverFault, Unsupported, InvalidRequest: the driver's own.
            StorageFull, CameraUnavailable: a picture could not be written; the camera is well.
            StorageFull: there was no room for the picture that was taken.
            WorkerTimeout: no answer within `timeout_s`; the worker still hangs then.
            WorkerLost: the worker ended before it answered.
        """
        what = type(command).__name__
        if not self.alive:
            raise WorkerLost(self._end_text())
        message_id = next(self._ids)
        answer: asyncio.Future[m.Answer] = asyncio.get_running_loop().create_future()
        self._pending[message_id] = answer
        try:
            self._send(message_id, command)
            async with asyncio.timeout(timeout_s):
                result = await answer
        except TimeoutError:
            raise WorkerTimeout(f"{what} was not answered within {timeout_s:.3g} s") from None
        finally:
            self._pending.pop(message_id, None)
        if isinstance(result, m.Failed):
            raise error_of(result)
        return result

    def take_image(self, image: ImageInfo) -> bytes | None:
        """Copy a picture out of the shared memory and give its slot back; None: it is in none.

        Raises:
            WorkerLost: the worker announced what it did not write.
        """
        if image.slot == NO_SLOT:
            return None
        try:
            return self._block.read(image.slot, image.size_bytes)
        finally:
            self._release(image)

    def _release(self, image: ImageInfo) -> None:
        if image.slot != NO_SLOT:
            self._send(0, m.Release([image.slot]))

    def tell(self, command: m.SetLive | m.Unprepare) -> None:
        """Send a command that is not answered."""
        self._send(0, command)

    def take_live(self, images: Sequence[m.LiveImage]) -> list[bytes]:
        """Copy the pictures of a live frame out of the shared memory and give their slots back.

        Raises:
            WorkerLost: the worker announced what it did not write.
        """
        self._taken += [image.slot for image in images]
        try:
            return [self._block.read(image.slot, image.size_bytes) for image in images]
        finally:
            if len(self._taken) >= _RELEASED_TOGETHER:
                self._send(0, m.Release(self._taken))
                self._taken = []

    def kill(self, why: str, *, dump_stack: bool = False) -> None:
        """End the process, whatever it does. Returns at once; `ended` tells when it has gone.

        A process in an uninterruptible kernel call goes only when that returns; nobody waits.
        """
        if self._killed_for or self.ended.done():
            return
        self._killed_for = why
        if dump_stack:
            posix.ask_for_stack(self.pid)
            asyncio.get_running_loop().call_later(_STACK_DUMP_S, self._kill_now)
        else:
            self._kill_now()
        self._fail_pending()

    def _kill_now(self) -> None:
        posix.kill_group(self.pid)

    def _send(self, message_id: int, command: m.Command) -> None:
        # Never awaits: a stopped worker would block the writer, and commands are few and small.
        if not self._writer.is_closing():
            self._writer.write(codec.encode(m.Envelope(message_id, command)))

    async def _supervise(self) -> None:
        """Own the process until it has gone: read what it says, then clean up after it."""
        receiving = asyncio.create_task(self._receive_all(), name=f"receive {self.pid}")
        listening = asyncio.create_task(self._listen(), name=f"stderr {self.pid}")
        try:
            await self._process.wait()
            await asyncio.wait([receiving, listening], timeout=_DRAIN_S)
        finally:
            self._kill_now()
            for task in (receiving, listening, self._liveness):
                task.cancel()
            await asyncio.gather(receiving, listening, self._liveness, return_exceptions=True)
            self._last_notes = self._block.read_notes()
            self._block.close()
            self._writer.close()
            self._stderr_end.close()
            if not self._killed_for or self._last_words:
                _log.warning(
                    "worker ended",
                    camera=self.camera,
                    driver=self.name,
                    pid=self.pid,
                    how=self._end_text(),
                    last_words="\n".join(self._last_words) or None,
                )
            self._fail_pending()

    def _fail_pending(self) -> None:
        futures: list[asyncio.Future[Any]] = [self._started, *self._pending.values()]
        for future in futures:
            if not future.done():
                future.set_exception(WorkerLost(self._end_text()))
                future.exception()  # nobody may be waiting any more

    async def _receive_all(self) -> None:
        try:
            while True:
                header = await self._reader.readexactly(codec.HEADER_BYTES)
                body = await self._reader.readexactly(codec.body_length(header))
                self._dispatch(codec.decode(body))
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the process ended, or is about to
        except ValueError as error:
            self.kill(f"it sent nonsense: {error}")

    def _dispatch(self, envelope: m.Envelope) -> None:
        match envelope.message:
            case m.Started(protocol):
                if protocol != codec.PROTOCOL:
                    self.kill("it is of another version of camsvc: restart the service")
                elif not self._started.done():
                    self._started.set_result(None)
            case m.LiveFrames() | m.Lost() as event:
                self._hand_on(self.on_live, event)
            case m.Changed(device):
                self._hand_on(self.on_changed, device)
            case m.Progress(percent):
                if type(percent) is not int or not 0 <= percent <= 100:
                    self.kill("it sent nonsense: progress that is not 0 to 100 percent")
                elif self._pending:
                    self._hand_on(self.on_progress, percent)
            case answer:
                pending = self._pending.get(envelope.id)
                if pending is not None and not pending.done():
                    pending.set_result(answer)  # type: ignore[arg-type]
                elif isinstance(answer, m.Captured):  # whoever asked has left
                    self._release(answer.image)

    def _hand_on(self, to: Callable[[_T], None], event: _T) -> None:
        if not self.alive:
            return
        try:
            to(event)
        except WorkerLost as error:
            self.kill(str(error))
        except Exception as error:  # values of wrong types: a worker gone mad
            self.kill(f"it sent nonsense: {error!r}")

    async def _listen(self) -> None:
        """Keep the last lines of stderr: libraries and crash dumps speak there."""
        while line := await _read_line(self._stderr):
            text = line.decode(errors="replace").rstrip()
            self._last_words.append(text)
            _log.debug("worker says", camera=self.camera, driver=self.name, pid=self.pid, line=text)

    async def _watch(self) -> None:
        """Kill an idle worker that does not answer. A busy one has its call's time-out."""
        while True:
            await asyncio.sleep(LIVENESS_INTERVAL_S)
            if self._pending or not self._started.done() or not self.alive:
                continue
            try:
                await self.call(m.Ping(), LIVENESS_INTERVAL_S)
            except WorkerTimeout:
                if len(self._pending) == 0:
                    self.kill("it stopped answering while idle", dump_stack=True)
            except WorkerLost:
                return

    def _end_text(self) -> str:
        if self._killed_for:
            return f"the worker was killed: {self._killed_for}"
        code = self._process.returncode
        if code is None:
            return "the worker closed its pipe"
        if code < 0:
            with contextlib.suppress(ValueError):
                name = signal.Signals(-code).name
                if name == "SIGALRM":  # a driver's own, around calls that nothing else can end
                    return "the worker ended itself (SIGALRM): the camera's library hung"
                return f"the worker was killed by {name}"
        return f"the worker ended with exit code {code}"


async def _stream(
    ours: contextlib.ExitStack, theirs: contextlib.ExitStack
) -> tuple[_Stream, socket.socket]:
    """Return a new connection's two ends, each to be closed by its stack."""
    our_end, their_end = socket.socketpair()
    theirs.callback(their_end.close)
    our_end.setblocking(False)
    stream = await asyncio.open_connection(sock=our_end)
    ours.callback(stream[1].close)
    return stream, their_end


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    """Return the next line; of an endless one, its pieces."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.read(error.consumed)
