"""Pictures that were taken and could not be kept: held in staging for who asks for them again.

Where the disk takes a note of such a picture, it is held over a restart of the service, too.

Tidying up raises nothing, so that it hides no error: what stays is swept at the end of the service
or at its next start.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from camsvc.model.records import CaptureRecord
from camsvc.storage.disk_check import DiskCheck
from camsvc.storage.files import FileStore


@dataclass(eq=False, slots=True)
class UnkeptPicture:
    """A picture in staging, and which of its files have got to a place in `captures/` already."""

    record: CaptureRecord
    staged: str
    places: list[tuple[int, str]]
    """By their numbers among those of the shot."""
    retry: asyncio.Task[None] | None = None
    """The last try to keep it after all: it goes on when who has asked for it leaves."""


class UnkeptPictures:
    """Those that are held, each for `hold_s` or until the disk is well. On the event loop."""

    def __init__(self, store: FileStore, disk: DiskCheck, hold_s: float) -> None:
        self._store = store
        self._disk = disk
        self._hold_s = hold_s
        self._held: dict[tuple[str, str], UnkeptPicture] = {}

    def find(self, camera: str, request_id: str) -> UnkeptPicture | None:
        """Return the picture that a request has led to."""
        return self._held.get((camera, request_id))

    async def add(self, record: CaptureRecord, staged: str, places: list[str]) -> None:
        """Hold a picture, if anybody can ask for it again."""
        picture = UnkeptPicture(record, staged, list(enumerate(places)))
        key = record.camera, record.request_id
        if key in self._held:
            self._held[key].places += picture.places
        elif record.request_id and self._hold_s:
            self._held[key] = picture
            self._expire_later(picture)
        else:
            await asyncio.to_thread(self._discard, picture)
            return
        await asyncio.to_thread(self._put_by, self._held[key])

    def restore(self, notes: Mapping[str, str]) -> None:
        """Hold what was held when the service ended, by the notes of that."""
        for staged, text in notes.items():
            with contextlib.suppress(
                ValueError, TypeError, KeyError
            ):  # cut off, or a later version's
                picture = UnkeptPicture(CaptureRecord.from_json(text), staged, [])
                self._held[picture.record.camera, picture.record.request_id] = picture
                self._expire_later(picture)
                continue
            with contextlib.suppress(OSError):
                self._store.discard(staged)

    def remove(self, picture: UnkeptPicture) -> None:
        """Hold a picture no longer; what is left of it is deleted."""
        self._held.pop((picture.record.camera, picture.record.request_id), None)
        asyncio.get_running_loop().run_in_executor(None, self._discard, picture)

    def put_back(self, picture: UnkeptPicture) -> bool:
        """Move what has got to its place back to staging; return whether all is there. Blocks."""
        for number, place in picture.places:
            with contextlib.suppress(OSError):
                self._store.put_back(place, picture.staged, number)
        return self._store.is_staged(picture.record, picture.staged)

    def _put_by(self, picture: UnkeptPicture) -> None:
        self.put_back(picture)
        with contextlib.suppress(OSError):  # it is held for as long as the service runs
            self._store.note(picture.staged, picture.record.to_json())

    def _expire_later(self, picture: UnkeptPicture) -> None:
        asyncio.get_running_loop().call_later(self._hold_s, self._expire, picture)

    def _expire(self, picture: UnkeptPicture) -> None:
        if self.find(picture.record.camera, picture.record.request_id) is not picture:
            return
        if self._disk.fault or (picture.retry and not picture.retry.done()):
            self._expire_later(picture)
        else:
            self.remove(picture)

    def _discard(self, picture: UnkeptPicture) -> None:
        with contextlib.suppress(OSError):
            self._store.discard(picture.staged)
        for _, place in picture.places:
            with contextlib.suppress(OSError):
                self._store.delete(place)
