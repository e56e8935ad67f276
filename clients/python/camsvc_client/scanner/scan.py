"""A scan in a folder, for programs and `camctl scan`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from camsvc_client.aio import AsyncCameraClient
from camsvc_client.scanner import contact_sheet, manifest
from camsvc_client.scanner.ledger import Key, Ledger
from camsvc_client.scanner.plan import Plan
from camsvc_client.scanner.run import PICTURES, Run
from camsvc_client.scanner.stage import Stage


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scan is: how many pictures are there, and how many it has in all.

    Example:
        def show(progress: Progress) -> None:
            print(f"{progress.done} of {progress.total}")
    """

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class ScanResult:
    """The result of a scan: pictures taken, pictures missing and why.

    Example:
        result = await scan.run(client, stage)
        print(result.pictures, "pictures;", len(result.missing), "missing")
    """

    folder: Path
    pictures: int
    missing: dict[Key, str]
    contact_sheet: Path | None


class Scan:
    """A scan in a folder: begun there, or resumed. It is safe to end the process at any time.

    `plan` None resumes with the plan of the folder. A point whose cameras do not get their pictures
    within `patience_s` (seconds) is left out, and tried again when the scan is run again.

    Raises:
        PlanDiffers: the folder has a scan with another plan.
        ValueError: there is nothing to resume.
        OSError: the folder cannot be written, or another process scans in it.

    Example:
        scan = Scan(Path("vase"), Plan(cameras=["left", "right"], points=cylinder(36, 4)))
        async with AsyncCameraClient() as client:
            result = await scan.run(client, SimulatedStage())
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan | None = None,
        *,
        patience_s: float = 120.0,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.folder = folder
        self._patience_s = patience_s
        self._on_progress = on_progress
        if plan is not None:
            (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        with Ledger(folder, plan) as ledger:
            self.plan = ledger.plan
            self._done = len(ledger.saved)

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(self._done, len(self.plan.points) * len(self.plan.cameras))

    async def run(self, client: AsyncCameraClient, stage: Stage) -> ScanResult:
        """Take what is missing; write the manifest, also when it is cut short, and contact sheet.

        Raises:
            CannotScan: a camera cannot do what the plan asks of it; nothing has moved.
            CamsvcError: a person has to act; the scan can be resumed afterwards.
            OSError: the folder cannot be written, for example as the disk is full; the same.
        """
        with Ledger(self.folder, self.plan) as ledger:
            run = Run(client, stage, ledger, patience_s=self._patience_s, on_saved=self._on_saved)
            try:
                await run.all_points()
            finally:
                manifest.write(ledger)
            sheet = None
            if contact_sheet.possible():
                # Raw files only the service can make pictures of.
                thumbnails = await run.thumbnails() if self.plan.format == "raw" else {}
                sheet = await asyncio.to_thread(contact_sheet.write, ledger, thumbnails)
            return ScanResult(self.folder, len(ledger.saved), dict(ledger.failed), sheet)

    def _on_saved(self, done: int) -> None:
        self._done = done
        if self._on_progress:
            self._on_progress(self.progress)
