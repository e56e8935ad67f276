"""Room on the disk: what pictures take, and whether the next one fits."""

import asyncio

from camsvc.storage import queries as rows
from camsvc.storage.database import LOG_BYTES, Database
from camsvc.storage.disk_errors import storage_full
from camsvc.storage.files import FileStore

_FIRST_PICTURE_BYTES = 8 << 20
"""Room that a camera's picture is taken to need before the first one has shown its size."""

_ROOM_FACTOR = 2
"""Times the largest picture so far: the next one may be larger."""

JOURNAL_FREE_BYTES = 16 << 20
"""What the journal may take, whatever pictures take: half of it is its log's."""


class DiskSpace:
    """What is free, what stays in reserve, and what the pictures take."""

    def __init__(self, store: FileStore, database: Database, reserve_bytes: int) -> None:
        self._store = store
        self._database = database
        self._reserve_bytes = reserve_bytes
        self._largest: dict[str, int] = {}
        self._added = asyncio.Event()
        self.total_bytes = 0
        """What all pictures kept take; see `refresh`."""
        self.journal_bytes = 0
        """What the journal takes at most, with its log; see `refresh`."""

    @property
    def counted_bytes(self) -> int:
        """What retention counts: all pictures, and what the journal takes beyond 16 MiB."""
        return self.total_bytes + max(0, self.journal_bytes - JOURNAL_FREE_BYTES)

    async def refresh(self) -> None:
        """Bring `total_bytes` and `journal_bytes` up to date."""
        self.total_bytes, self.journal_bytes = await self._database.read(
            lambda db: (rows.total_bytes(db), rows.journal_bytes(db) + LOG_BYTES)
        )

    def add(self, camera: str, size_bytes: int, total_bytes: int) -> None:
        """Note that a picture was kept, and what all take now."""
        self._largest[camera] = max(size_bytes, self._largest.get(camera, 0))
        self.total_bytes = total_bytes
        added, self._added = self._added, asyncio.Event()
        added.set()

    async def wait_until_larger(self, max_bytes: float) -> None:
        """Wait for a picture that is kept while all of them take more than that."""
        while True:
            await self._added.wait()
            if self.counted_bytes > max_bytes:
                return

    def check(self, camera: str, free_bytes: int) -> None:
        """Check whether a camera's next picture fits into what is free.

        Raises:
            StorageFull: it may not.
        """
        largest = self._largest.get(camera, _FIRST_PICTURE_BYTES // _ROOM_FACTOR)
        needed = self._reserve_bytes + _ROOM_FACTOR * largest
        if free_bytes < needed:
            raise storage_full(camera, f"{free_bytes:,} bytes are free and {needed:,} are needed")

    def free_bytes(self) -> int:
        """Return what is free where the pictures are. Blocks: not for the event loop."""
        return self._store.free_bytes()
