"""Small pictures for lists, made when they are first asked for."""

import asyncio
from collections import OrderedDict

from camsvc.model.errors import StorageUnavailable, Unsupported, WorkerLost
from camsvc.model.records import CaptureRecord
from camsvc.storage.archive import Archive
from camsvc.storage.image_reader import ImageReader
from camsvc.storage.ports import Thumbnailer

MIME_TYPE = "image/jpeg"

_READABLE = ("image/jpeg", "image/png")

_KEPT = 200
"""Thumbnails kept in memory, about 10 KB each: what a few people leaf through."""


class Thumbnails:
    """An archive's thumbnails. They are made one at a time."""

    def __init__(self, archive: Archive, thumbnailer: Thumbnailer) -> None:
        self._archive = archive
        self._thumbnailer = thumbnailer
        self._made: OrderedDict[str, bytes | None] = OrderedDict()
        """The last used; None: none can be made of that capture."""
        self._making = asyncio.Lock()

    async def get(self, capture_id: str) -> bytes:
        """Return the thumbnail of a capture: a JPEG of at most 320 pixels on its longer side.

        Raises:
            CaptureNotFound: there is no such picture.
            Unsupported: none can be made of it.
            StorageUnavailable: none can be made now.
        """
        async with self._archive.open_image(capture_id, _easiest) as picture, self._making:
            if capture_id not in self._made:
                self._made[capture_id] = await self._make(picture)
            made = self._made[capture_id]
            self._made.move_to_end(capture_id)
        while len(self._made) > _KEPT:
            self._made.popitem(last=False)
        if made is None:
            mime_type = picture.image.mime_type
            raise Unsupported(
                f"capture {capture_id!r}: no thumbnail can be made of its {mime_type}; download "
                "the original",
                metadata={"camera": picture.record.camera, "capture_id": capture_id},
            )
        return made

    async def _make(self, picture: ImageReader) -> bytes | None:
        try:
            return await self._thumbnailer.make(picture.read, picture.image.size_bytes)
        except Unsupported:
            return None
        except WorkerLost as error:
            raise StorageUnavailable(f"no thumbnail can be made now: {error}") from error


def _easiest(record: CaptureRecord) -> int:
    """Return the number of the file to make a thumbnail of: the first that is not a RAW."""
    readable = (n for n, file in enumerate(record.files) if file.mime_type in _READABLE)
    return next(readable, 0)
