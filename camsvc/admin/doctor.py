"""`camsvc discover` and `camsvc doctor`: what is attached, and what is wrong with it."""

import asyncio
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace

from camsvc.admin import discovery
from camsvc.admin.report import Report
from camsvc.config.cameras import CameraSettings
from camsvc.config.settings import ServiceSettings, Settings
from camsvc.ipc import messages as m
from camsvc.ipc.observer import WorkerObserver
from camsvc.model.errors import (
    CameraServiceError,
    DeviceAway,
    DriverError,
    DriverFault,
    WorkerLost,
    WorkerTimeout,
)
from camsvc.model.options import Launch, Sandbox
from camsvc.model.values import DeviceInfo, Shot
from camsvc.worker_pool.pool import WorkerPool
from camsvc.worker_pool.process import WorkerProcess

_START_S = 20.0
_DIAGNOSE_S = 10.0
_CLOSE_S = 5.0
_OVER = "its examination is over"


async def discover(settings: Settings, report: Report) -> None:
    """Print the devices that the drivers find."""
    pool = WorkerPool()
    try:
        found = await discovery.discover(settings.cameras, settings.service.sandboxed, pool)
    finally:
        await pool.close()
    for item in found.devices:
        state = f"configured as {item.device.camera}" if item.device.camera else "not configured"
        report.line("[bold]{}[/]: {} ({})", item.driver, item.device.name, state)
        if not item.device.camera:
            for line in [*item.settings_snippet.splitlines(), ""]:
                report.line("{}", line)
    for driver, reason in found.failures.items():
        report.line("[yellow]{}[/]: discovery failed: {}", driver, reason)


async def examine(
    service: ServiceSettings, cameras: Iterable[CameraSettings], report: Report
) -> bool:
    """Examine cameras one after the other; print what was found; return whether all is in order."""
    results = [
        await _Examination(settings, settings.launch(service.sandboxed), report).run()
        for settings in cameras
    ]
    return all(results)


class _Examination:
    """One camera's. Every step is bounded by the time-outs of its settings."""

    def __init__(self, settings: CameraSettings, launch: Launch, report: Report) -> None:
        self._settings = settings
        self._launch = launch
        self._report = report
        self._well = True
        self._said: set[str] = set()

    async def run(self) -> bool:
        settings = self._settings
        self._report.line("[bold]{}[/] (driver {})", settings.id, settings.driver)
        launch = self._launch
        if shutil.which(launch.python) is None:
            self._bad(
                f"the settings' python = {launch.python!r} is not a program that this user can run",
                "Set it to an interpreter that has the driver's library.",
            )
            return False
        started = time.monotonic()
        worker = await self._started(launch)
        if worker is None:
            return False
        worker.attach(settings.id, WorkerObserver())
        self._good(f"worker started in {time.monotonic() - started:.2f} s")
        try:
            await self._examine(worker)
        finally:
            await worker.end(_OVER, _CLOSE_S)
        return self._well

    async def _started(self, launch: Launch) -> WorkerProcess | None:
        """Return a worker; None, and said why: it does not start."""
        try:
            async with asyncio.timeout(_START_S):
                return await WorkerProcess.start(launch)
        except (WorkerLost, TimeoutError) as error:
            self._bad(
                f"the driver's worker does not start: {error}",
                "Is the driver's library installed for this camera's `python`? "
                "Run again with CAMSVC_SERVICE__LOG_LEVEL=debug to see what it says.",
            )
            return None

    async def _diagnose(self) -> None:
        """Look at the device from outside, without a sandbox: who holds it is hidden in one."""
        worker = await self._started(replace(self._launch, sandbox=Sandbox()))
        if worker is None:
            return
        try:
            asked = m.Diagnose(self._settings.driver_settings())
            for finding in (await worker.call(asked, _DIAGNOSE_S)).findings:
                (self._good if finding.ok else self._bad)(finding.text, finding.advice)
        finally:
            await worker.end(_OVER, _CLOSE_S)

    async def _examine(self, worker: WorkerProcess) -> None:
        settings = self._settings
        driver_settings = settings.driver_settings()
        try:
            await self._diagnose()
            started = time.monotonic()
            opened = await worker.call(
                m.Open(driver_settings, dict(settings.controls), b""), settings.open_timeout_s
            )
            extra_s = (opened.device.exposure_us or 0) / 1e6 + opened.device.max_silence_s
            self._good(f"opened in {time.monotonic() - started:.2f} s: {_described(opened.device)}")
            started = time.monotonic()
            captured = await worker.call(m.Capture(Shot()), settings.attempt_timeout_s + extra_s)
            image = captured.image
            self._good(
                f"test capture in {time.monotonic() - started:.2f} s "
                f"(driver {captured.driver_s:.3f} s, encoding {captured.encode_s:.3f} s): "
                f"{image.mime_type}, {image.width_px}x{image.height_px}, "
                f"{image.size_bytes / 1e6:.2f} MB"
            )
            await worker.call(m.Close(), _CLOSE_S)
        except WorkerTimeout as error:
            self._bad(
                f"the driver hangs: {error}",
                "Unplug the device and plug it in again, and look at `dmesg`. The service would "
                "kill the worker and go on trying; a larger time-out helps a slow device.",
            )
        except WorkerLost as error:
            self._bad(
                f"the driver's process died: {error}", "The log above shows what it wrote last."
            )
        except DriverFault as error:
            self._bad(str(error), "The service would not try again before ResetCamera.")
        except DeviceAway as error:
            self._bad(str(error), "The service checks for it every second, and goes on by itself.")
        except CameraServiceError as error:
            self._bad(str(error), "Change the camera's settings.")
        except DriverError as error:
            self._bad(
                str(error),
                "The service would go on trying. If it keeps failing, unplug the device and plug "
                "it in again, and look at `dmesg`.",
            )

    def _good(self, text: str, _: str = "") -> None:
        self._report.line("  [green]ok[/]    {}", text)

    def _bad(self, text: str, advice: str = "") -> None:
        self._well = False
        if text in self._said:  # opening fails for the reason that the diagnosis has found
            return
        self._said.add(text)
        self._report.line("  [red]wrong[/] {}", text)
        if advice:
            self._report.line("        {}", advice)


def _described(device: DeviceInfo) -> str:
    parts = [device.model, f"formats {', '.join(device.formats)}"]
    parts += [f"{name} {value}" for name, value in device.details.items()]
    return "; ".join(parts)
