"""Whether the disk can keep a picture: asked before each shutter, and once a second.

What has failed once is refused at once from then on, until a look finds that its cause has ended.
"""

import asyncio
import errno
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

import structlog

from camsvc.model.errors import StorageUnavailable
from camsvc.storage.database import Database
from camsvc.storage.disk_errors import DISK_ERRORS, is_full, unavailable
from camsvc.storage.files import FileStore
from camsvc.system.event_loop import loop_time

_log = structlog.get_logger()

T = TypeVar("T")

_LOOK_S = 1.0
"""How often it is looked whether a fault has begun or ended."""

ANSWER_S = 10.0
"""How long a disk may take to answer until it counts as one that keeps nothing: one that is on the
network may never answer, and one that is only busy does so sooner."""

_SILENT = OSError(errno.ETIMEDOUT, "it does not answer")

FRESH_S = 0.1
"""How long what a look has found is good enough just before the shutter: another one would wait for
the sync of what the capture itself has begun (2 to 3 ms of an SSD)."""


@dataclass(frozen=True, slots=True)
class _Probe:
    """A look's question to the disk: when it was asked, and whether something is written for it."""

    future: asyncio.Future[None]
    begun: float
    writes: bool


class DiskCheck:
    """The disk as the last look has found it. For the event loop's thread."""

    def __init__(self, store: FileStore, database: Database) -> None:
        self._store = store
        self._database = database
        self._looked = self._well = -math.inf
        """When a look has last begun; when the last one has that has found no fault."""
        self._probe: _Probe | None = None
        """The last one: there is never more than one under way, as it may never end."""
        self._doubtful = False
        self.fault = ""
        """Why no picture can be kept; empty while one can."""
        self._free_bytes = 0

    async def require(self, max_age_s: float = 0.0) -> int:
        """Look whether a picture can be kept, unless a look less old has found that it can.

        Return the bytes that the look has found free: a full disk is not reported here.

        Raises:
            StorageUnavailable: none can be now.
        """
        now = loop_time()
        if self.fault:
            known = self._is_silent or now < self._looked + _LOOK_S
        else:
            known = now < self._well + max_age_s and not self._doubtful
        if not known:
            await self._look()
        if self.fault:
            raise StorageUnavailable(self.fault)
        return self._free_bytes

    async def finish(self, work: "asyncio.Future[T]") -> T:
        """Return what the disk's work on a thread comes to.

        Raises:
            StorageUnavailable: a look has found that the disk does not answer.
            Exception: whatever else the work does.
        """
        while not (await asyncio.wait([work], timeout=_LOOK_S / 10))[0]:
            if self.fault and self._is_silent:
                raise StorageUnavailable(self.fault)
        return work.result()

    @property
    def _is_silent(self) -> bool:
        """Whether the last look has no answer yet."""
        return self._probe is not None and not self._probe.future.done()

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
        self._looked = loop_time()
        if self._probe is None or self._probe.future.done():
            write = self._doubtful
            # In the writer's turn: the folders and the journal are there then, and not locked.
            future = self._database.write(lambda db: self._probe_disk(write=write))
            self._probe = _Probe(future, self._looked, write)
        probe = self._probe  # another may follow before this is resumed
        left_s = probe.begun + ANSWER_S - self._looked
        await asyncio.wait([probe.future], timeout=max(0.0, left_s))
        error = probe.future.exception() if probe.future.done() else _SILENT
        fault = ""
        if error is None:
            self._doubtful = self._doubtful and not probe.writes
            self._well = max(self._well, probe.begun)
        elif not isinstance(error, DISK_ERRORS):
            raise error
        elif is_full(error):
            self._free_bytes = await asyncio.to_thread(self._store.free_bytes)
        else:
            fault = unavailable(error).message
        if fault and not self.fault:
            _log.error("storage unavailable", why=fault)
        elif self.fault and not fault:
            _log.warning("storage available again")
        self.fault = fault

    def _probe_disk(self, *, write: bool) -> None:
        self._free_bytes = self._store.free_bytes()
        self._store.probe(write=write)
