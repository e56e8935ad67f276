"""One run of a scan: for every point move, settle, take, fetch; each step noted before the next.

Pictures are fetched while the stage moves to the next point.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from camsvc_client import errors
from camsvc_client.aio import AsyncCameraClient
from camsvc_client.errors import CamsvcError, CaptureNotFound
from camsvc_client.files import write_whole
from camsvc_client.images import extension
from camsvc_client.scanner import manifest
from camsvc_client.scanner.ledger import Key, Ledger
from camsvc_client.scanner.pattern import Point
from camsvc_client.scanner.prepare import prepare
from camsvc_client.scanner.stage import Stage
from camsvc_client.values import ControlValue, Shot

_GONE = (errors.ServiceUnreachable, errors.DeadlineExceeded)
_PASSES = (
    *_GONE,
    *(errors.CameraBusy, errors.QueueFull, errors.RateLimited),
    *(errors.CameraUnavailable, errors.CaptureTimeout),
)
"""Errors that may pass. Any other ends the scan: a person has to act."""

_PAUSE_S = 1.0
PICTURES = "pictures"


class Run:
    """Takes what a ledger lacks. `on_saved` is called with their number after each picture."""

    def __init__(
        self,
        client: AsyncCameraClient,
        stage: Stage,
        ledger: Ledger,
        *,
        patience_s: float,
        on_saved: Callable[[int], None],
    ) -> None:
        self._client = client
        self._stage = stage
        self._ledger = ledger
        self._patience_s = patience_s
        self._on_saved = on_saved
        self._settings: dict[str, Mapping[str, ControlValue]] = {}
        self._fetching: asyncio.Task[None] | None = None

    async def all_points(self) -> None:
        """Take the pictures that are missing.

        Raises:
            CannotScan: before anything moves, a camera cannot do what the plan asks of it.
            CamsvcError: a person has to act.
        """
        todo = [point for point in self._ledger.plan.points if self._missing(point)]
        if not todo:
            return
        for camera in self._ledger.plan.cameras:
            self._settings[camera] = await prepare(self._client, camera, self._ledger.plan)
        try:
            await self._stage.home()
            for point in todo:
                await self._one_point(point)
            await self._fetch_done()
        except CamsvcError:
            with suppress(CamsvcError):
                await self._fetch_done()
            raise
        finally:
            if self._fetching:
                self._fetching.cancel()
                await asyncio.wait([self._fetching])
            await self._stage.close()

    async def thumbnails(self) -> dict[Key, bytes]:
        """Return a small JPEG of each picture of which the service can make one."""
        found: dict[Key, bytes] = {}
        for key, row in self._ledger.saved.items():
            with suppress(CaptureNotFound, errors.Unsupported):
                image = await self._client.download_image(row["capture_id"], thumbnail=True)
                found[key] = image.data
        return found

    def _missing(self, point: Point) -> list[Key]:
        keys = [(point.number, camera) for camera in self._ledger.plan.cameras]
        return [key for key in keys if key not in self._ledger.saved]

    async def _one_point(self, point: Point) -> None:
        missing = self._missing(point)
        untaken = [key for key in missing if key not in self._ledger.taken]
        if untaken:
            await self._stage.move(point.axes)
            await asyncio.sleep(self._ledger.plan.settle_s)
            await self._take(untaken)
        await self._fetch_done()
        self._fetching = asyncio.create_task(self._fetch(point, missing), name="fetch pictures")

    async def _take(self, keys: Sequence[Key]) -> None:
        """Take a point's pictures together; those that fail, again, until patience ends."""
        ends_at = time.monotonic() + self._patience_s
        while failed := await self._attempt(keys):
            for error in failed.values():
                if not isinstance(error, _PASSES):
                    raise error
            wait = max(error.retry_after_s or _PAUSE_S for error in failed.values())
            if time.monotonic() + wait > ends_at:
                for key, error in failed.items():
                    self._ledger.note(key, failed=str(error))
                return
            await asyncio.sleep(wait)
            keys = list(failed)

    async def _attempt(self, keys: Sequence[Key]) -> dict[Key, CamsvcError]:
        """Ask for pictures; return the errors of those that there are none of."""
        try:
            group = await self._client.capture_group([self._shot(key) for key in keys])
        except _PASSES as error:
            return dict.fromkeys(keys, error)
        results = dict(zip(keys, group.results, strict=True))
        for key, result in results.items():
            if result.capture:
                self._ledger.note(key, taken=result.capture.capture_id)
        return {key: result.error for key, result in results.items() if result.error}

    def _shot(self, key: Key) -> Shot:
        number, camera = key
        return Shot(
            camera=camera,
            request_id=self._ledger.request_id(key),
            format=self._ledger.plan.format,
            # With each picture too: a service that was restarted has forgotten what was set.
            controls=self._settings[camera],
            labels={"scan": str(self._ledger.scan_id), "point": str(number)},
        )

    async def _fetch_done(self) -> None:
        if self._fetching:
            fetching, self._fetching = self._fetching, None
            await fetching

    async def _fetch(self, point: Point, keys: Sequence[Key]) -> None:
        for key in keys:
            capture_id = self._ledger.taken.get(key)
            if capture_id is not None:
                await self._save(point, key, capture_id)
                self._on_saved(len(self._ledger.saved))

    async def _save(self, point: Point, key: Key, capture_id: str) -> None:
        number, camera = key
        ends_at = time.monotonic() + self._patience_s
        while True:
            try:
                capture = await self._client.get_capture(capture_id)
                image = await self._client.download_image(capture_id)
            except CaptureNotFound as error:  # deleted: taken again by the next run
                self._ledger.note(key, failed=str(error))
                return
            except _GONE:
                if time.monotonic() > ends_at:
                    raise
                await asyncio.sleep(_PAUSE_S)
            else:
                file = f"{PICTURES}/{number:04d}-{camera}{extension(image.mime_type)}"
                path = self._ledger.folder / file
                await asyncio.to_thread(write_whole, path, image.data, sync=True)
                self._ledger.note(key, saved=manifest.row(point, capture, file))
                return
