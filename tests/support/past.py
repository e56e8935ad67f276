"""A data folder as a long life of the service would have left it."""

import asyncio
import hashlib
import time
import uuid
from pathlib import Path

from camsvc.model.fingerprint import fingerprint
from camsvc.model.records import CaptureRecord, EventRecord, EventType, StoredImage
from camsvc.model.values import ControlValue, Shot
from camsvc.storage.archive import Archive
from camsvc.storage.files import staged_name
from tests.support.keeping import put_staged
from tests.support.misdeeds import TINY_JPEG

_AT_ONCE = 250
_EVERY_S = 10
"""Between two captures."""
CONTROLS: dict[str, ControlValue] = {
    "focus_distance_diopters": 2.5,
    "focus_mode": "manual",
    "exposure_duration_us": 10_000,
    "gain": 1.0,
    "shutter_actuations": 1,
}


async def lived(folder: Path, captures: int, cameras: tuple[str, ...]) -> int:
    """Take that many captures without a camera; return how many events that has made."""
    archive = await Archive.open(folder)
    try:
        for first in range(0, captures, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, captures))
            await asyncio.gather(*(_take(archive, n, captures, cameras) for n in numbers))
        return archive.events.last_sequence
    finally:
        await archive.close()


async def _take(archive: Archive, number: int, count: int, cameras: tuple[str, ...]) -> None:
    taken_ns = time.time_ns() - (count - number) * _EVERY_S * 10**9
    labels = {"scan": f"scan-{number // 288}", "point": str(number % 288 // 2), "side": "left"}
    record = CaptureRecord(
        capture_id=str(uuid.uuid4()),
        camera=cameras[number % len(cameras)],
        create_time_ns=taken_ns,
        request_id=str(uuid.uuid4()),
        fingerprint=fingerprint(Shot(), labels),
        labels=labels,
    )

    whose = (taken_ns, record.camera, record.capture_id, record.request_id)
    waits = EventRecord(EventType.QUEUED, *whose, queue_position=1) if number % 2 else None
    archive.captures.begin(record, waits)
    archive.captures.note(EventRecord(EventType.STARTED, *whose))
    data = TINY_JPEG + number.to_bytes(4, "big")
    staged = staged_name(record.capture_id, 1)
    await asyncio.to_thread(put_staged, archive, staged, data)
    image = StoredImage("", "image/jpeg", 1, 1, len(data), hashlib.sha256(data).hexdigest())
    done = CaptureRecord(
        **{name: getattr(record, name) for name in _BEGUN},
        image=image,
        acquisition_time_ns=taken_ns,
        exposure_us=10_000,
        controls=CONTROLS,
        attempts=1,
        driver_s=0.25,
        store_s=0.01,
        total_s=0.27,
    )
    await archive.captures.succeed(done, staged)


_BEGUN = ("capture_id", "camera", "create_time_ns", "request_id", "fingerprint", "labels")
