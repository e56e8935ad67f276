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


class DiskCheck:
    """The disk as the last look has found it. For the event loop's thread."""

    def __init__(self, store: FileStore, database: Database) -> None:
        self._store = store
        self._database = database
        self._looked = -math.inf
        self._doubtful = False
        self.fault = ""
        """Why no picture can be kept; empty while one can."""

    async def require(self) -> None:
        """Look whether a picture can be kept; a full disk is not told here.

        Raises:
            StorageUnavailable: none can be now.
        """
        if not self.fault or asyncio.get_running_loop().time() > self._looked + _LOOK_S:
            await self._look()
        if self.fault:
            raise StorageUnavailable(self.fault)

    def doubt(self) -> None:
        """Have the next look write, too: a picture could not be kept for what none has seen."""
        self._doubtful = True

    async def changes(self) -> AsyncIterator[bool]:
        """Yield whether pictures can be kept, now and whenever that has changed."""
        told: bool | None = None
        while True:
            await self._look()
            if told is not (well := not self.fault):
                told = well
                yield well
            await asyncio.sleep(_LOOK_S)

    async def _look(self) -> None:
        if self.fault:  # those that ask meanwhile need not wait
            self._looked = asyncio.get_running_loop().time()
        fault, write = "", self._doubtful
        try:
            # In the writer's turn: the folders and the journal are there then, and not locked.
            await self._database.write(lambda db: self._store.probe(write=write))
            if write:
                self._doubtful = False
        except DISK_ERRORS as error:
            if not is_full(error):
                fault = unavailable(error).message
        if fault and not self.fault:
            _log.error("storage unavailable", why=fault)
        elif self.fault and not fault:
            _log.warning("storage available again")
        self.fault = fault
