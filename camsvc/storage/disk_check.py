"""Whether the disk can keep a picture: asked before each shutter, and once a second.

What has failed once is refused at once from then on, until a look finds that its cause has ended.
"""

import asyncio
import math
from collections.abc import AsyncIterator

import structlog

from camsvc.model.errors import StorageUnavailable
from camsvc.storage.database import Database
from camsvc.storage.disk_errors import DISK_ERRORS, is_full, unavailable
from camsvc.storage.files import FileStore

_log = structlog.get_logger()

_LOOK_S = 1.0
"""How often it is looked whether a fault has begun or ended."""

FRESH_S = 0.1
"""How long what a look has found is good enough just before the shutter: another one would wait for
the sync of what the capture itself has begun (2 to 3 ms of an SSD)."""


class DiskCheck:
    """The disk as the last look has found it. For the event loop's thread."""

    def __init__(self, store: FileStore, database: Database) -> None:
        self._store = store
        self._database = database
        self._looked = self._well = -math.inf
        """When a look has last begun; when the last one has that has found no fault."""
        self._doubtful = False
        self.fault = ""
        """Why no picture can be kept; empty while one can."""

    async def require(self, max_age_s: float = 0.0) -> None:
        """Look whether a picture can be kept, unless a look less old has found that it can.

        A full disk is not reported here.

        Raises:
            StorageUnavailable: none can be now.
        """
        now = asyncio.get_running_loop().time()
        if self.fault:
            known = now < self._looked + _LOOK_S
        else:
            known = now < self._well + max_age_s and not self._doubtful
        if not known:
            await self._look()
        if self.fault:
            raise StorageUnavailable(self.fault)

    def doubt(self) -> None:
        """Have the next look write, too: a picture could not be kept for what none has seen."""
        self._doubtful = True

    async def changes(self) -> AsyncIterator[bool]:
        """Yield whether pictures can be kept, now and whenever that has changed."""
        reported: bool | None = None
        while True:
            await self._look()
            if reported is not (well := not self.fault):
                reported = well
                yield well
            await asyncio.sleep(_LOOK_S)

    async def _look(self) -> None:
        began = self._looked = asyncio.get_running_loop().time()
        fault, write = "", self._doubtful
        try:
            # In the writer's turn: the folders and the journal are there then, and not locked.
            await self._database.write(lambda db: self._store.probe(write=write))
            if write:
                self._doubtful = False
            self._well = began
        except DISK_ERRORS as error:
            if not is_full(error):
                fault = unavailable(error).message
        if fault and not self.fault:
            _log.error("storage unavailable", why=fault)
        elif self.fault and not fault:
            _log.warning("storage available again")
        self.fault = fault
