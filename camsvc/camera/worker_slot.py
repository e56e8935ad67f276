"""A camera's worker: taken, opened, closed, dropped. At most one at a time has the device.

Invariant: a worker that was dropped is killed at once, and never called again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from camsvc.camera.observer import CameraObserver
from camsvc.camera.ports import CameraWorker
from camsvc.ipc import messages as m
from camsvc.ipc.errors import error_of
from camsvc.ipc.observer import WorkerObserver
from camsvc.live.ports import CameraFrame, EncodedImage
from camsvc.model.errors import CameraLost, DriverError, DriverFault, WorkerTimeout
from camsvc.model.options import CameraOptions
from camsvc.model.values import ControlValue, DeviceInfo
from camsvc.system.event_loop import loop_time

_CLOSE_S = 2.0
"""How long a device may take to close before its worker is killed."""

_GONE_S = 1.0
"""How long a killed worker may take to go before the next one tries to open the device, which the
other may still hold. In the middle of a kernel call it may go later, or never."""

_RELEASED_S = 5.0
"""How long the system may take to release the device of a killed worker, on a busy machine."""

_OPEN_FACTOR, _OPEN_S, _FULL_OPENING = 3.0, 2.0, 4
"""A device whose opening hung is tried again with so many times what it took before, and so much
more, so that it is soon back once it can be opened. Each fourth try has the whole time again."""

_log = structlog.get_logger()


class WorkerSlot:
    """Holds the worker of one camera, whose reports go to `observers`.

    `controls` are set after each opening, as they are then; `ended` is called when a worker ends.
    """

    def __init__(
        self,
        options: CameraOptions,
        take_worker: Callable[[], Awaitable[CameraWorker]],
        controls: Mapping[str, ControlValue],
        observers: Sequence[CameraObserver],
        ended: Callable[[CameraWorker], None],
    ) -> None:
        self._options = options
        self._take_worker = take_worker
        self._controls = controls
        self.observers = observers
        self.ended = ended
        self.worker: CameraWorker | None = None
        self.device: DeviceInfo | None = None
        """What was opened last."""
        self.starts = 0
        """How many workers have been asked to open the device."""
        self._open_s: float | None = None
        """What the last opening that succeeded took."""
        self._failed_openings = 0
        """In a row."""
        self._driver_state = b""
        self._dropped: CameraWorker | None = None
        """The one before, whose process may not have gone yet."""
        self._dropped_at = -_RELEASED_S
        self._closing: asyncio.Task[None] | None = None

    @property
    def may_hold_device(self) -> bool:
        """Whether a worker that was killed a moment ago may hold the device yet."""
        return loop_time() < self._dropped_at + _RELEASED_S

    async def replace(self) -> None:
        """Drop the worker that is there, and open the device with a new one.

        Raises: as `_open`. WorkerTimeout: the new one did not start in time.
        """
        self.drop("it is replaced")
        if self._closing is not None:
            await asyncio.wait([self._closing], timeout=_CLOSE_S)
        if self._dropped is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GONE_S):
                    await self._dropped.wait_ended()
        try:
            async with asyncio.timeout(self._options.open_timeout_s):
                worker = await self._take_worker()
        except TimeoutError:
            raise WorkerTimeout("the worker did not start in time") from None
        self.worker = worker
        self.starts += 1
        worker.attach(self._options.id, _Reports(worker, self))
        await self._open(worker)

    async def reopen(self, worker: CameraWorker) -> None:
        """Close the device and open it again. Raises: as `_open`."""
        with contextlib.suppress(DriverError):  # a lost device may well refuse to close
            await worker.call(m.Close(), self._options.open_timeout_s)
        self._driver_state = worker.driver_state
        await self._open(worker)

    def drop(self, why: str, *, dump_stack: bool = False) -> None:
        """Kill the worker, if there is one."""
        worker, self.worker = self.worker, None
        if worker is not None:
            self._driver_state = worker.driver_state
            self._dropped, self._dropped_at = worker, loop_time()
            worker.kill(why, dump_stack=dump_stack)

    def close_in_background(self) -> None:
        """Close the device politely, then end its worker."""
        worker, self.worker = self.worker, None
        if worker is not None:
            self._driver_state = worker.driver_state
            name = f"{self._options.id} close"
            self._closing = asyncio.create_task(self._close(worker), name=name)

    async def close(self) -> None:
        """Close the device politely where it answers, and end every worker."""
        if self._closing is not None:
            self._closing.cancel()
            await asyncio.wait([self._closing])
        if self.worker is not None:
            await self._close(self.worker)
        self.drop("the service ends")

    async def _open(self, worker: CameraWorker) -> None:
        """Open the device.

        Raises:
            DriverError, DriverFault, WorkerLost, WorkerTimeout: it did not open.
            InvalidRequest, Unsupported: the controls are not the camera's.
        """
        options, controls = self._options, dict(self._controls)
        command = m.Open(dict(options.driver_settings), controls, self._driver_state)
        begun, limit_s = loop_time(), self._open_limit_s
        self._failed_openings += 1
        try:
            self.device = (await worker.call(command, limit_s)).device
        except WorkerTimeout as error:
            if worker is self.worker:
                self.drop("its driver hangs in open", dump_stack=True)
            full = limit_s == options.open_timeout_s
            whose = "the camera's open_timeout_s" if full else "much longer than before"
            raise WorkerTimeout(f"{error}, {whose}") from None
        self._open_s, self._failed_openings = loop_time() - begun, 0

    @property
    def _open_limit_s(self) -> float:
        full_s = self._options.open_timeout_s
        if self._open_s is None or self._failed_openings % _FULL_OPENING == 0:
            return full_s
        silence_s = self.device.max_silence_s if self.device is not None else 0.0
        return min(full_s, _OPEN_FACTOR * self._open_s + _OPEN_S + silence_s)

    async def _close(self, worker: CameraWorker) -> None:
        try:
            await worker.call(m.Close(), _CLOSE_S)
        except (CameraLost, DriverFault) as error:
            _log.debug("device not closed", camera=self._options.id, error=str(error))
        except Exception:
            _log.exception("unhandled exception", camera=self._options.id)
        finally:
            self._driver_state = worker.driver_state
            worker.kill("the camera was closed")


class _Reports(WorkerObserver):
    """Passes on what a worker reports unasked, until it is not the camera's any more."""

    def __init__(self, worker: CameraWorker, slot: WorkerSlot) -> None:
        self._worker = worker
        self._slot = slot

    @property
    def _is_current(self) -> bool:
        return self._worker is self._slot.worker

    def on_live_frame(self, frame: m.SharedFrame) -> None:
        if not self._is_current:
            return
        pictures = self._worker.take_live(frame.images)
        images = [
            EncodedImage(i.variants, i.mime_type, i.width_px, i.height_px, data)
            for i, data in zip(frame.images, pictures, strict=True)
        ]
        times = frame.acquisition_time_ns, frame.monotonic_ns
        taken = CameraFrame(*times, images, frame.encode_s, frame.skipped, frame.bad)
        for observer in self._slot.observers:
            observer.on_live_frame(taken)

    def on_live_lost(self, failure: m.Failed) -> None:
        if self._is_current:
            for observer in self._slot.observers:
                observer.on_live_failed(error_of(failure))

    def on_device_changed(self, device: DeviceInfo) -> None:
        if self._is_current:
            self._slot.device = device

    def on_progress(self, percent: int) -> None:
        if self._is_current:
            for observer in self._slot.observers:
                observer.on_progress(percent)

    def on_ended(self) -> None:
        self._slot.ended(self._worker)
