"""A camera's worker: taken, opened, closed, dropped. At most one at a time has the device.

Invariant: a worker that was dropped is killed at once, and never called again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

import structlog

from camsvc.camera.ports import CameraWorker
from camsvc.ipc import messages as m
from camsvc.ipc.observer import WorkerObserver
from camsvc.model.errors import CameraLost, DriverError, DriverFault, WorkerTimeout
from camsvc.model.options import CameraOptions
from camsvc.model.values import ControlValue, DeviceInfo

_CLOSE_S = 2.0
"""How long a device may take to close before its worker is killed."""

_GONE_S = 1.0
"""How long a killed worker may take to go before the next one tries to open the device, which the
other may still hold. In the middle of a kernel call it may go later, or never."""

_log = structlog.get_logger()


class WorkerSlot:
    """Holds the worker of one camera."""

    def __init__(
        self, options: CameraOptions, take_worker: Callable[[], Awaitable[CameraWorker]]
    ) -> None:
        self._options = options
        self._take_worker = take_worker
        self.worker: CameraWorker | None = None
        self.device: DeviceInfo | None = None
        """What was opened last."""
        self.starts = 0
        """How many workers have been asked to open the device."""
        self._notes = b""
        self._dropped: CameraWorker | None = None
        """The one before, whose process may not have gone yet."""
        self._closing: asyncio.Task[None] | None = None

    async def replace(
        self,
        controls: Mapping[str, ControlValue],
        observer_of: Callable[[CameraWorker], WorkerObserver],
    ) -> None:
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
        worker.attach(self._options.id, observer_of(worker))
        await self._open(worker, controls)

    async def reopen(self, worker: CameraWorker, controls: Mapping[str, ControlValue]) -> None:
        """Close the device and open it again. Raises: as `_open`."""
        with contextlib.suppress(DriverError):  # a lost device may well refuse to close
            await worker.call(m.Close(), self._options.open_timeout_s)
        self._notes = worker.notes
        await self._open(worker, controls)

    async def recover(self, worker: CameraWorker) -> None:
        """Let the driver recover the open device by itself."""
        await worker.call(m.Recover(), self._options.open_timeout_s)

    def drop(self, why: str, *, dump_stack: bool = False) -> None:
        """Kill the worker, if there is one."""
        worker, self.worker = self.worker, None
        if worker is not None:
            self._notes = worker.notes
            self._dropped = worker
            worker.kill(why, dump_stack=dump_stack)

    def close_in_background(self) -> None:
        """Close the device politely, then end its worker."""
        worker, self.worker = self.worker, None
        if worker is not None:
            self._notes = worker.notes
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

    async def _open(self, worker: CameraWorker, controls: Mapping[str, ControlValue]) -> None:
        """Open the device.

        Raises:
            DriverError, DriverFault, WorkerLost, WorkerTimeout: it did not open.
            InvalidRequest, Unsupported: the controls are not the camera's.
        """
        command = m.Open(dict(self._options.driver_settings), dict(controls), self._notes)
        try:
            self.device = (await worker.call(command, self._options.open_timeout_s)).device
        except WorkerTimeout:
            if worker is self.worker:
                self.drop("its driver hangs in open", dump_stack=True)
            raise

    async def _close(self, worker: CameraWorker) -> None:
        try:
            await worker.call(m.Close(), _CLOSE_S)
        except (CameraLost, DriverFault) as error:
            _log.debug("device not closed", camera=self._options.id, error=str(error))
        except Exception:
            _log.exception("unhandled exception", camera=self._options.id)
        finally:
            self._notes = worker.notes
            worker.kill("the camera was closed")
