"""The worker process: one driver, called on the main thread, commanded over a pipe.

A second thread reads the pipe. It answers pings, and ends the process at end-of-file: then the
service has gone. Only the standard library and the driver's own library are imported here.

A still has three steps: made ready for, taken, and what it needed put back. `Prepare` does the
first ahead of time; whatever is between, nothing is read of the camera, and the last is done.
"""

import contextlib
import importlib
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from camsvc.drivers.base import Driver, DriverState
from camsvc.drivers.controls import checked
from camsvc.images import exif
from camsvc.ipc import codec
from camsvc.ipc import messages as m
from camsvc.ipc.errors import failure
from camsvc.ipc.shared_memory import STILL_SLOT, SharedBlock
from camsvc.model import errors
from camsvc.model.registry import BUILTIN
from camsvc.model.values import ControlValue, Device, DeviceInfo, Shot
from camsvc.system import posix
from camsvc.worker.live import LiveReader
from camsvc.worker.still import StillWriter

_ATTEND_S = 1.0
"""How often a driver looks after its open device."""


def main(arguments: list[str]) -> None:
    """Run a worker: its pipe's and its memory's descriptors, the parent's pid, the driver."""
    pipe_fd, block_fd, parent_pid, driver = arguments
    posix.die_with(int(parent_pid))
    # Ctrl-C reaches the whole group of processes; only the service acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    posix.report_crashes()
    pipe, block = socket.socket(fileno=int(pipe_fd)), SharedBlock(int(block_fd))
    Worker(pipe, block, _load(driver)).run()


def _load(path: str) -> type[Driver] | errors.DriverFault:
    """Return the driver's class, its library imported, or why it is not to be had."""
    known = next((name for name, builtin in BUILTIN.items() if builtin.driver == path), path)
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a library may raise anything when it is imported
        return errors.DriverFault(
            f"driver {known!r} cannot be loaded: {type(error).__name__}: {error}; install what is "
            "missing into the camera's `python`, then reset the camera"
        )
    with contextlib.suppress(ImportError):  # then pictures must come encoded
        importlib.import_module("cv2")
    exif.pillow()
    return cast(type[Driver], found)


@dataclass(frozen=True, slots=True)
class _Ready:
    """What the camera has been made ready for, and the controls as they were before."""

    shot: Shot
    before: dict[str, ControlValue]


class Worker:
    """Carries commands out one after the other, and reads live frames in between."""

    def __init__(
        self,
        pipe: socket.socket,
        block: SharedBlock,
        driver_class: type[Driver] | errors.DriverFault,
    ) -> None:
        self._pipe = pipe
        self._block = block
        self._loaded = driver_class
        self._driver: Driver | None = None
        self._device: DeviceInfo | None = None
        self._ready: _Ready | None = None
        self._had_device = False
        """Whether the device may have been opened here, if only in part."""
        self._percent: int | None = None
        """What was told last of the still under way; None: none is."""
        self._attend_at: float | None = None
        """When the driver's device wants to be looked after; None: it does not."""
        self._commands: queue.SimpleQueue[m.Envelope] = queue.SimpleQueue()
        self._wanted = threading.Event()
        self._sending = threading.Lock()
        self._still = StillWriter(block)
        self._live = LiveReader(block, lambda event: self._send(0, event))
        self._handlers: dict[type, Callable[..., m.Answer]] = {
            m.Open: self._open,
            m.Recover: self._recover,
            m.Close: self._close,
            m.Prepare: self._prepare,
            m.Capture: self._capture,
            m.ListControls: self._list_controls,
            m.SetControls: self._set_controls,
            m.Discover: self._discover,
            m.Diagnose: self._diagnose,
        }

    def run(self) -> None:
        """Serve until the pipe ends."""
        self._send(0, m.Started(codec.PROTOCOL))
        threading.Thread(target=self._receive_all, name="pipe", daemon=True).start()
        while True:
            if self._commands.empty():
                self._wanted.clear()
            try:
                envelope = self._commands.get(timeout=self._pause_s)
            except queue.Empty:
                self._go_on()
                continue
            match envelope.message:
                case m.SetLive(variants):
                    self._live.want(variants, self._driver)
                case m.Unprepare():
                    with contextlib.suppress(Exception):  # the next command meets it again
                        self._put_back()
                case command:
                    self._answer(envelope.id, command)

    @property
    def _pause_s(self) -> float | None:
        """How long to wait for a command before `_go_on`; None: until there is one."""
        if self._ready:
            return None
        pauses = [self._live.pause_s]
        if self._attend_at is not None:
            pauses.append(max(0.0, self._attend_at - time.monotonic()))
        return min((pause for pause in pauses if pause is not None), default=None)

    def _go_on(self) -> None:
        """Do what is done between commands."""
        if self._attend_at is not None and time.monotonic() >= self._attend_at:
            self._attend(self._opened)
        elif self._live.pause_s is not None:
            self._live.read(self._opened)

    def _attend(self, driver: Driver) -> None:
        try:
            changed = driver.health_check()
            if changed is not None:
                self._device = self._described(changed)
                self._send(0, m.Changed(self._device))
        except Exception as error:  # a driver may raise whatever its library does
            self._send(0, m.Lost(failure(error)))
        self._attend_at = time.monotonic() + _ATTEND_S

    def _receive_all(self) -> None:
        while (envelope := codec.receive(self._pipe)) is not None:
            match envelope.message:
                case m.Ping():
                    self._send(envelope.id, m.Done())
                case m.Release(slots):
                    self._release(slots)
                case _:
                    self._commands.put(envelope)
                    self._wanted.set()
        os._exit(0)

    def _release(self, slots: list[int]) -> None:
        if STILL_SLOT in slots:
            self._still.release()
        else:
            self._live.release(slots)

    def _send(self, message_id: int, message: m.Answer | m.Event | m.Started) -> None:
        with self._sending:
            try:
                self._pipe.sendall(codec.encode(m.Envelope(message_id, message)))
            except ConnectionError:
                os._exit(0)

    def _answer(self, message_id: int, command: object) -> None:
        """Carry a command out; also what a driver hands over in wrong types is its error."""
        try:
            if self._ready and not self._closes_or_takes(command):
                self._put_back()
            self._send(message_id, self._handlers[type(command)](command))
        except Exception as error:  # a driver may raise whatever its library does
            self._send(message_id, failure(error))

    def _closes_or_takes(self, command: object) -> bool:
        """Whether a command heeds by itself that the camera is ready for a still."""
        match command:
            case m.Capture(shot):
                return self._ready is not None and shot == self._ready.shot
            case _:
                return isinstance(command, m.Close)

    def _open(self, command: m.Open) -> m.Answer:
        state = DriverState(command.notes, self._block.write_notes)
        self._block.write_notes(command.notes)
        self._driver = self._driver_class(command.settings, state)
        self._driver.interrupt = self._wanted
        self._driver.progress = self._tell
        self._device = self._described(self._open_device(self._driver))
        self._apply(command.controls)
        if self._driver_class.health_check is not Driver.health_check:
            self._attend_at = time.monotonic() + _ATTEND_S
        return m.Opened(self._device)

    def _open_device(self, driver: Driver) -> DeviceInfo:
        had_device, self._had_device = self._had_device, True
        try:
            return driver.open()
        except errors.DeviceAway as error:
            self._had_device = had_device
            if had_device and isinstance(error, errors.DeviceInUse):
                why = "its library has not let go of it, and needs a new process"
                raise errors.WorkerLost(f"the camera is in use: {why}") from error
            raise

    def _described(self, device: DeviceInfo) -> DeviceInfo:
        return replace(
            device,
            live_view=device.live_view and self._driver_class.read is not Driver.read,
            warnings=[*device.warnings, *exif.warnings()],
        )

    def _recover(self, _: m.Recover) -> m.Answer:
        self._live.stop(self._driver)
        self._opened.recover()
        return m.Done()

    def _close(self, _: m.Close) -> m.Answer:
        driver = self._driver
        if driver is not None:
            with contextlib.ExitStack() as steps:  # each is done, whatever becomes of the others
                steps.callback(self._forget, driver)
                steps.callback(self._live.stop, driver)
                self._put_back()
        return m.Done()

    def _forget(self, driver: Driver) -> None:
        self._driver = self._attend_at = None
        driver.close()

    def _prepare(self, command: m.Prepare) -> m.Answer:
        try:
            self._make_ready(command.shot)
            self._opened.prepare(command.shot)
        except Exception:
            self._put_back()
            raise
        return m.Done()

    def _capture(self, command: m.Capture) -> m.Answer:
        shot, driver = command.shot, self._opened
        try:
            if self._ready is None:
                self._make_ready(shot)
            self._percent = -1
            started = time.perf_counter()
            asked_ns = time.time_ns()
            frame = driver.capture(shot)
            driver_s = time.perf_counter() - started
            if frame.acquisition_time_ns < asked_ns:
                age_s = (asked_ns - frame.acquisition_time_ns) / 1e9
                raise errors.DriverError(
                    f"stale picture: taken {age_s:.3f} s before it was asked for"
                )
            values = {c.name: c.value for c in driver.controls() if c.value is not None}
            values |= frame.controls
        finally:
            self._percent = None
            self._put_back()
        assert self._device is not None
        return self._still.hand_over(frame, command, self._device, values, driver_s)

    def _make_ready(self, shot: Shot) -> None:
        """Do what can be done before the trigger; to be followed by `_put_back`, also if it fails.

        Raises:
            Unsupported, InvalidRequest: the camera cannot do what the shot asks for.
        """
        driver, device = self._opened, self._device
        assert device is not None
        if shot.format not in device.formats:
            formats = ", ".join(device.formats)
            raise errors.Unsupported(
                f"format {shot.format} is not to be had; this camera has: {formats}"
            )
        if not device.capture_during_live_view:
            self._live.suspend(driver)
        controls = driver.controls() if shot.controls else []
        wanted = checked(controls, shot.controls)
        before = {c.name: c.value for c in controls if c.name in wanted and c.value is not None}
        self._ready = _Ready(shot, before)
        if wanted:
            driver.set_controls(wanted)

    def _put_back(self) -> None:
        """Set the controls as they were before the shot, as far as the camera takes that.

        It may refuse a value that it had itself, on automatic. The picture is none the worse.
        """
        ready, self._ready = self._ready, None
        if ready is None or not ready.before:
            return
        try:
            self._opened.set_controls(ready.before)
        except errors.InvalidRequest:
            for name, value in ready.before.items():
                try:
                    self._opened.set_controls({name: value})
                except errors.InvalidRequest as error:
                    sys.stderr.write(f"after a shot, {name} was not put back: {error}\n")

    def _tell(self, percent: int) -> None:
        """Tell how far the still under way is, on whatever thread the driver calls this."""
        percent = min(100, max(0, int(percent)))
        if self._percent is not None and percent != self._percent:
            self._percent = percent
            self._send(0, m.Progress(percent))

    def _list_controls(self, _: m.ListControls) -> m.Answer:
        return m.Controls(self._opened.controls())

    def _set_controls(self, command: m.SetControls) -> m.Answer:
        self._apply(command.values)
        return m.Controls(self._opened.controls())

    def _discover(self, command: m.Discover) -> m.Answer:
        def configured_as(device: Device) -> str:
            ids = command.configured.items()
            return next((i for i, s in ids if self._driver_class.selects(s, device)), "")

        found = self._driver_class.discover(list(command.configured.values()))
        return m.Discovered([replace(d, camera=configured_as(d)) for d in found])

    def _diagnose(self, command: m.Diagnose) -> m.Answer:
        return m.Diagnosed(self._driver_class.diagnose(command.settings))

    @property
    def _driver_class(self) -> type[Driver]:
        if isinstance(self._loaded, errors.DriverFault):
            raise self._loaded
        return self._loaded

    @property
    def _opened(self) -> Driver:
        if self._driver is None:
            raise errors.DriverError("the camera is not open")
        return self._driver

    def _apply(self, values: dict[str, ControlValue]) -> None:
        if values:
            self._opened.set_controls(checked(self._opened.controls(), values))
