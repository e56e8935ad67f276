"""The worker process: one driver, called on the main thread, commanded over a pipe.

A second thread reads the pipe. It answers pings, and ends the process at end-of-file: then the
service has gone. Only the standard library and the driver's own library are imported here.
"""

import contextlib
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback

from camsvc.drivers.base import Driver
from camsvc.ipc import codec
from camsvc.ipc import messages as m
from camsvc.ipc.errors import failure
from camsvc.ipc.shared_memory import SharedBlock
from camsvc.model import errors
from camsvc.model.options import Sandbox
from camsvc.system import posix, sandbox
from camsvc.worker.commands import Commands
from camsvc.worker.live import LiveReader
from camsvc.worker.load import load_driver

_HEALTH_CHECK_S = 1.0
"""How often a driver checks its open device."""


def main(arguments: list[str]) -> None:
    """Run a worker: its pipe's and its memory's descriptors, the parent's pid, driver, sandbox."""
    pipe_fd, block_fd, parent_pid, driver, confinement = arguments
    posix.die_with(int(parent_pid))
    # Ctrl-C reaches the whole group of processes; only the service acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    posix.report_crashes()
    kept_from = _confine(Sandbox(**json.loads(confinement)))
    pipe, block = socket.socket(fileno=int(pipe_fd)), SharedBlock(int(block_fd))
    WorkerLoop(pipe, block, load_driver(driver), kept_from).run()


def _confine(wanted: Sandbox) -> str:
    """Enter the sandbox before the driver is imported; return what the worker is kept from."""
    if wanted.mode == "off":
        return "off"
    try:
        return sandbox.enter(wanted.hidden, wanted.writable, wanted.memory_bytes)
    except OSError as error:
        why = f"files cannot be kept from it: {posix.reason(error)}"
        if wanted.mode == "require":
            sys.exit(f"the worker's sandbox is incomplete: {why}")
        return f"incomplete: {why}"


class WorkerLoop:
    """Carries commands out one after the other, and reads live frames in between."""

    def __init__(
        self,
        pipe: socket.socket,
        block: SharedBlock,
        driver_class: type[Driver] | errors.DriverFault,
        kept_from: str,
    ) -> None:
        self._pipe = pipe
        self._queue: queue.SimpleQueue[tuple[int, m.FromService]] = queue.SimpleQueue()
        self._interrupt = threading.Event()
        """Set while a command waits: what can be broken off should be."""
        self._sending = threading.Lock()
        self._live = LiveReader(block, self._send_event)
        self._commands = Commands(
            block,
            driver_class,
            kept_from=kept_from,
            live=self._live,
            interrupt=self._interrupt,
            on_progress=lambda percent: self._send_event(m.Progress(percent)),
        )
        self._health_check_at: float | None = None
        """None: the driver has none."""

    def run(self) -> None:
        """Serve until the pipe ends."""
        self._send(0, m.Started(codec.PROTOCOL))
        threading.Thread(target=self._receive_all, name="pipe", daemon=True).start()
        while True:
            if self._queue.empty():
                self._interrupt.clear()
            try:
                message_id, message = self._queue.get(timeout=self._pause_s)
            except queue.Empty:
                self._idle_step()
                continue
            match message:
                case m.SetLive(variants):
                    self._live.want(variants, self._commands.driver)
                case m.Unprepare():
                    with contextlib.suppress(Exception):  # the next command fails by it, too
                        self._commands.unprepare()
                case command:
                    self._answer(message_id, command)
                    self._plan_health_check()

    @property
    def _pause_s(self) -> float | None:
        """How long to wait for a command before `_idle_step`; None: until there is one."""
        if self._commands.prepared:
            return None
        pauses = [self._live.pause_s]
        if self._health_check_at is not None:
            pauses.append(max(0.0, self._health_check_at - time.monotonic()))
        return min((pause for pause in pauses if pause is not None), default=None)

    def _idle_step(self) -> None:
        """Do what is done between commands."""
        if self._health_check_at is not None and time.monotonic() >= self._health_check_at:
            self._health_check()
        elif self._live.pause_s is not None:
            self._live.read(self._commands.opened)

    def _health_check(self) -> None:
        try:
            changed = self._commands.health_check()
            if changed is not None:
                self._send_event(m.Changed(changed))
        except Exception as error:  # a driver may raise whatever its library does
            self._send_event(m.Lost(failure(error)))
        self._health_check_at = time.monotonic() + _HEALTH_CHECK_S

    def _plan_health_check(self) -> None:
        """Begin checking a device that has been opened; end it for one that has been closed."""
        if not self._commands.has_health_check:
            self._health_check_at = None
        elif self._health_check_at is None:
            self._health_check_at = time.monotonic() + _HEALTH_CHECK_S

    def _answer(self, message_id: int, command: object) -> None:
        try:
            self._send(message_id, self._commands.run(command))
        except Exception as error:  # a driver may raise, and return, whatever its library does
            self._send(message_id, failure(error))

    def _receive_all(self) -> None:
        try:
            stream = self._pipe.makefile("rb")
            while (received := codec.FROM_SERVICE.receive(stream)) is not None:
                self._receive(*received)
        except Exception:  # without this thread the worker cannot be used: end it, for another
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def _receive(self, message_id: int, message: m.FromService) -> None:
        match message:
            case m.Ping():
                self._send(message_id, m.Done())
            case m.Release(slots):
                self._live.release(slots)
            case _:
                self._queue.put((message_id, message))
                self._interrupt.set()

    def _send_event(self, event: m.Event) -> None:
        self._send(0, event)

    def _send(self, message_id: int, message: m.FromWorker) -> None:
        with self._sending:
            try:
                self._pipe.sendall(codec.FROM_WORKER.encode(message_id, message))
            except ConnectionError:
                os._exit(0)
