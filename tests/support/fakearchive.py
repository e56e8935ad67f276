"""An archive in memory, for cameras on a loop with virtual time. Watches what a camera may do."""

import asyncio
from dataclasses import replace

from camsvc.ipc import messages as m
from camsvc.ipc.shared_memory import SharedBlock
from camsvc.model.errors import StorageFull
from camsvc.model.records import (
    CaptureRecord,
    CaptureState,
    EventRecord,
    EventType,
    StoredImage,
    TakenShot,
)

KEEP_S = 0.005


class FakeStagedShot:
    """A place for a shot."""

    def __init__(self, archive: "FakeArchive", name: str) -> None:
        self.name = name
        self._archive = archive

    async def take(self, captured: m.Captured, image_format: str, inline_bytes: int) -> TakenShot:
        await asyncio.sleep(self._archive.store_s)
        if self._archive.lies:
            raise self._archive.lies.pop(0)
        image = StoredImage("", captured.image.mime_type, 1, 1, captured.image.size_bytes, "")
        return TakenShot([image], b"picture" if inline_bytes else None, self._archive.store_s)

    def discard(self) -> None:
        self._archive.discarded.append(self.name)


class FakeArchive:
    """Keeps captures and events. `full` and `fails` are how its disk is."""

    def __init__(self) -> None:
        self.records: dict[str, CaptureRecord] = {}
        self.events: list[EventRecord] = []
        self.discarded: list[str] = []
        self.lookup_s, self.look_s, self.store_s, self.keep_s = 0.0, 0.0, 0.0, KEEP_S
        self.lies: list[Exception] = []
        """What the next pictures fail with, as they are not what their workers say."""
        self.full = False
        """No room before the shutter."""
        self.fails = False
        """No room when a picture is to be kept."""
        self.wrong: list[str] = []
        """What no camera may do, and one has done: an error may end where nobody sees it."""

    async def stage(self, capture_id: str, attempt: int, memory: SharedBlock) -> FakeStagedShot:
        return FakeStagedShot(self, f"{capture_id}.{attempt}")

    async def wait_for_backlog(self) -> None:
        pass

    async def find_by_request_id(self, camera: str, request_id: str) -> CaptureRecord | None:
        found = self._stored(camera, request_id)
        await asyncio.sleep(self.lookup_s)  # an answer is out of date when it comes
        return found

    async def require_room(self, camera: str) -> None:
        await asyncio.sleep(self.look_s)
        if self.full:
            raise StorageFull(f"camera {camera!r}: no room")

    def _stored(self, camera: str, request_id: str) -> CaptureRecord | None:
        return next(
            (
                record
                for record in self.records.values()
                if request_id
                and (record.camera, record.request_id) == (camera, request_id)
                and record.state is CaptureState.SUCCEEDED
            ),
            None,
        )

    def begin(self, record: CaptureRecord, event: EventRecord | None) -> None:
        self._demand(record.capture_id not in self.records, "a capture begins twice")
        self.records[record.capture_id] = record
        if event is not None:
            self.note(event)

    def note(self, event: EventRecord) -> None:
        if event.capture_id:
            record, before = self.records[event.capture_id], self.types_of(event.capture_id)
            running = record.state is CaptureState.RUNNING
            self._demand(running, f"{event.type} of an ended capture")
            first = event.type in (EventType.STARTED, EventType.QUEUED)
            fits = first != (EventType.STARTED in before) or event.type is EventType.REJECTED
            self._demand(fits, f"{event.type} after {before}")
        self.events.append(replace(event, sequence=len(self.events) + 1))

    def types_of(self, capture_id: str) -> list[EventType]:
        """Return the types of a capture's events so far."""
        return [event.type for event in self.of(capture_id)]

    def of(self, capture_id: str) -> list[EventRecord]:
        """Return a capture's events so far."""
        return [event for event in self.events if event.capture_id == capture_id]

    async def succeed(self, record: CaptureRecord, staged: str) -> CaptureRecord:
        await asyncio.sleep(self.keep_s)
        if self.fails:
            raise StorageFull(f"camera {record.camera!r}: no room")
        twice = self._stored(record.camera, record.request_id)
        self._demand(not twice, "two pictures of one request id")
        kept = replace(record, state=CaptureState.SUCCEEDED)
        self._end(kept)
        return kept

    def withdraw(
        self, capture_id: str, rejected: EventRecord | None = None
    ) -> "asyncio.Future[None]":
        if rejected is not None:
            self.note(rejected)
        del self.records[capture_id]
        kept = asyncio.get_running_loop().create_future()
        kept.set_result(None)
        return kept

    def end(self, record: CaptureRecord) -> "asyncio.Future[None]":
        assert record.failure is not None
        ours = "an internal error before there was a picture" not in record.failure.message
        self._demand(ours, "a capture ended by an internal error")
        self._end(record)
        kept = asyncio.get_running_loop().create_future()
        kept.set_result(None)
        return kept

    def _end(self, record: CaptureRecord) -> None:
        running = self.records[record.capture_id].state is CaptureState.RUNNING
        self._demand(running, "a capture ends that has ended before")
        self.records[record.capture_id] = record
        event = EventRecord(EventType(record.state.value), 0, record.camera, record.capture_id)
        self.events.append(replace(event, sequence=len(self.events) + 1, capture=record))

    def _demand(self, holds: bool, text: str) -> None:
        if not holds:
            self.wrong.append(text)
        assert holds, text

    @property
    def running(self) -> list[CaptureRecord]:
        return [r for r in self.records.values() if r.state is CaptureState.RUNNING]
