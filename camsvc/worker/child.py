"""The worker process: one driver, called on the main thread, commanded over a pipe.

A second thread reads the pipe. It answers pings, and ends the process at end-of-file: then the
service has gone. Only the standard library and the driver's own library are imported here.
"""

import contextlib
import ctypes
import faulthandler
import hashlib
import importlib
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from camsvc import errors
from camsvc.drivers.base import Driver, Frame, Notes
from camsvc.drivers.controls import checked
from camsvc.frames import STILL_SLOT, ControlValue, ImageInfo, SharedBlock
from camsvc.worker import messages as m

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Run a worker: its pipe's and its memory's descriptors, the parent's pid, the driver."""
    pipe_fd, block_fd, parent_pid, driver = arguments
    _die_with(int(parent_pid))
    # Ctrl-C reaches the whole group of processes; only the service acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _report_crashes()
    module, _, name = driver.partition(":")
    Worker(
        socket.socket(fileno=int(pipe_fd)),
        SharedBlock(int(block_fd)),
        getattr(importlib.import_module(module), name),
    ).run()


def _die_with(parent_pid: int) -> None:
    """Have the kernel kill this process with the service, also while a driver holds the GIL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before prctl
        os._exit(1)


def _report_crashes() -> None:
    """Write the Python stack to stderr on a crash, and on SIGUSR1: where does a driver hang?"""
    faulthandler.enable()
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - Unix only

        # Writing a core file would hold the camera for seconds after a crash.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Worker:
    """Carries commands out one after the other."""

    def __init__(self, pipe: socket.socket, block: SharedBlock, driver_class: type[Driver]) -> None:
        self._pipe = pipe
        self._block = block
        self._driver_class = driver_class
        self._driver: Driver | None = None
        self._formats: list[str] = []
        self._commands: queue.SimpleQueue[m.Envelope] = queue.SimpleQueue()
        self._still_slot_free = threading.Event()
        self._still_slot_free.set()
        self._sending = threading.Lock()
        self._handlers: dict[type, Callable[..., m.Answer]] = {
            m.Open: self._open,
            m.Recover: self._recover,
            m.Close: self._close,
            m.Capture: self._capture,
            m.ListControls: self._list_controls,
            m.SetControls: self._set_controls,
            m.Discover: self._discover,
            m.Diagnose: self._diagnose,
        }

    def run(self) -> None:
        """Serve until the pipe ends."""
        self._send(0, m.Started(os.getpid()))
        threading.Thread(target=self._receive_all, name="pipe", daemon=True).start()
        while True:
            envelope = self._commands.get()
            self._send(envelope.id, self._carry_out(envelope.message))

    def _receive_all(self) -> None:
        while (envelope := m.receive(self._pipe)) is not None:
            match envelope.message:
                case m.Ping():
                    self._send(envelope.id, m.Done())
                case m.Release():
                    self._block.trim(STILL_SLOT)
                    self._still_slot_free.set()
                case _:
                    self._commands.put(envelope)
        os._exit(0)

    def _send(self, message_id: int, message: m.Answer | m.Started | m.Log) -> None:
        with self._sending:
            try:
                self._pipe.sendall(m.encode(m.Envelope(message_id, message)))
            except ConnectionError:
                os._exit(0)

    def _carry_out(self, command: object) -> m.Answer:
        try:
            return self._handlers[type(command)](command)
        except errors.InvalidRequest as error:
            violation = error.violations[0]
            return m.Failed("InvalidRequest", violation.description, violation.field)
        except (errors.Unsupported, errors.DriverFault, errors.DriverError) as error:
            return m.Failed(type(error).__name__, str(error))
        except Exception as error:  # a driver may raise whatever its library does
            logging.getLogger(__name__).exception("driver failed")
            return m.Failed("DriverError", f"{type(error).__name__}: {error}")

    def _open(self, command: m.Open) -> m.Answer:
        notes = Notes(command.notes, self._block.write_notes)
        self._block.write_notes(command.notes)
        self._driver = self._driver_class(command.settings, notes)
        device = self._driver.open()
        self._formats = device.formats
        self._apply(command.controls)
        return m.Opened(device)

    def _recover(self, _: m.Recover) -> m.Answer:
        self._opened.recover()
        return m.Done()

    def _close(self, _: m.Close) -> m.Answer:
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()
        return m.Done()

    def _capture(self, command: m.Capture) -> m.Answer:
        shot, driver = command.shot, self._opened
        if shot.format not in self._formats:
            raise errors.Unsupported(
                f"format {shot.format} is not to be had; this camera has: "
                + ", ".join(self._formats)
            )
        before = self._values_of(shot.controls)
        self._apply(shot.controls)
        try:
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
        finally:
            self._apply(before)
        return self._hand_over(frame, shot, values, driver_s)

    def _hand_over(
        self, frame: Frame, shot: m.Shot, values: dict[str, ControlValue], driver_s: float
    ) -> m.Captured:
        from camsvc.worker import imaging  # noqa: PLC0415 - a discovery needs no codec

        started = time.perf_counter()
        data, mime_type, width, height = imaging.finish(frame, shot)
        self._still_slot_free.wait()
        self._still_slot_free.clear()
        self._block.write(STILL_SLOT, data)
        image = ImageInfo(
            slot=STILL_SLOT,
            size_bytes=len(data),
            mime_type=mime_type,
            width_px=width,
            height_px=height,
            acquisition_time_ns=frame.acquisition_time_ns,
            sha256=hashlib.sha256(data).hexdigest(),
            exposure_us=frame.exposure_us,
            controls=values,
        )
        return m.Captured(image, driver_s, time.perf_counter() - started)

    def _list_controls(self, _: m.ListControls) -> m.Answer:
        return m.Controls(self._opened.controls())

    def _set_controls(self, command: m.SetControls) -> m.Answer:
        self._apply(command.values)
        return m.Controls(self._opened.controls())

    def _discover(self, command: m.Discover) -> m.Answer:
        def configured_as(device: m.Device) -> str:
            ids = command.configured.items()
            return next((i for i, s in ids if self._driver_class.selects(s, device)), "")

        found = self._driver_class.discover()
        return m.Discovered([replace(d, camera=configured_as(d)) for d in found])

    def _diagnose(self, command: m.Diagnose) -> m.Answer:
        return m.Diagnosed(self._driver_class.diagnose(command.settings))

    @property
    def _opened(self) -> Driver:
        if self._driver is None:
            raise errors.DriverError("the camera is not open")
        return self._driver

    def _apply(self, values: dict[str, ControlValue]) -> None:
        if values:
            self._opened.set_controls(checked(self._opened.controls(), values))

    def _values_of(self, names: dict[str, ControlValue]) -> dict[str, ControlValue]:
        if not names:
            return {}
        controls = self._opened.controls()
        return {c.name: c.value for c in controls if c.name in names and c.value is not None}
