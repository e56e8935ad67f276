"""A shot's files on their way from its worker's memory to the archive.

A worker may have been taken over by what its camera sent. So it is given no file and no path: the
service makes the file before the shutter, copies the picture out of the shared memory, each byte
once, and what it has copied is what it hashes, counts, sends inline and keeps. What the worker says
of it is checked here; one that says what is not so is lost, and its attempt has failed.
"""

import io
import time
from functools import partial

from camsvc.ipc.messages import Captured
from camsvc.ipc.shared_memory import SharedBlock
from camsvc.model import clock
from camsvc.model.errors import DriverError, WorkerLost
from camsvc.model.records import TakenShot
from camsvc.storage.copying import copy
from camsvc.storage.disk_check import DiskCheck
from camsvc.storage.disk_errors import not_written
from camsvc.storage.files import FileStore, part_name
from camsvc.storage.threads import Threads
from camsvc.system.folder import Folder

_WRITERS = 32
"""Threads, made when they are needed, as by a large group."""

_EARLY_NS = 10_000_000
"""By how much a picture may say that it was taken before it was asked for: two processes read the
clocks, which are adjusted meanwhile. The worker's own gate is strict."""


class Staging:
    """Makes shots, and has the threads that write them. On the event loop."""

    def __init__(self, store: FileStore, disk: DiskCheck) -> None:
        self.store = store
        self.disk = disk
        self.threads = Threads("picture-write", _WRITERS)

    async def shot(self, name: str, memory: SharedBlock) -> "StagedShot":
        """Make a shot's first file: where none can be made, no shutter is to be pressed.

        `memory` is its worker's.

        Raises:
            WorkerLost: the worker has ended.
            StorageFull, StorageUnavailable: none can be made.
        """
        folder = self.store.staging
        try:
            ours = memory.share()
        except OSError as error:
            raise not_written(error, "a picture") from error

        def make() -> StagedShot:
            try:
                return StagedShot(self, folder, name, folder.create(name), ours)
            except BaseException:
                ours.close()
                raise

        try:
            return await self.threads.run(make, StagedShot.discard)
        except OSError as error:
            raise not_written(error, "a picture") from error


class StagedShot:
    """One attempt's files in staging. It ends with `take`, or with `discard`."""

    def __init__(
        self, staging: Staging, folder: Folder, name: str, file: io.FileIO, memory: SharedBlock
    ) -> None:
        self.name = name
        self._staging = staging
        self._folder = folder
        self._file = file
        """The first one."""
        self._memory = memory
        self._asked = clock.now()
        self._is_taken = self._is_discarded = False

    async def take(self, captured: Captured, image_format: str, inline_bytes: int) -> TakenShot:
        """Copy the shot into its files, and sync them.

        Raises:
            WorkerLost: it is not what its worker says.
            StorageFull, StorageUnavailable: it cannot be written.
        """
        self._check(captured)
        work = partial(self._write, captured, image_format, inline_bytes)
        writing = self._staging.threads.start(work)
        self._is_taken = True
        try:
            return await self._staging.disk.finish(writing)
        except OSError as error:
            what = f"a picture of {captured.image.size_bytes} bytes"
            raise not_written(error, what) from error

    def discard(self) -> None:
        """Delete what there is of it, on a thread; what is being written, when that has ended."""
        self._is_discarded = True
        if not self._is_taken:
            self._file.close()
            self._memory.close()
        self._staging.threads.start(partial(self._staging.store.discard, self.name))

    def _check(self, captured: Captured) -> None:
        announced = sum(each.size_bytes for each in (captured.image, *captured.others))
        written = self._memory.still_bytes
        if announced != written:
            raise WorkerLost(f"the worker announced {announced} bytes and wrote {written}")
        try:
            taken = clock.acquired(captured.image.acquisition_time_ns, self._asked)
        except DriverError as error:
            raise WorkerLost(str(error)) from error
        early_ns = self._asked.monotonic_ns - taken.monotonic_ns
        if early_ns > _EARLY_NS:
            raise WorkerLost(
                "the worker announced a picture that was taken "
                f"{early_ns / 1e9:.3f} s before it was asked for"
            )

    # On a thread.

    def _write(self, captured: Captured, image_format: str, inline_bytes: int) -> TakenShot:
        begun = time.perf_counter()
        image, memory = captured.image, self._memory
        inline, place = image.size_bytes <= inline_bytes, image.size_bytes
        try:
            with self._file as file:
                stored, data = copy(memory, 0, image, file, image_format, whole=inline)
                self._check_name(0, file)
            files = [stored]
            for number, info in enumerate(captured.others, start=1):
                with self._folder.create(part_name(self.name, number)) as other:
                    files.append(copy(memory, place, info, other)[0])
                    self._check_name(number, other)
                place += info.size_bytes
            return TakenShot(files, data if inline else None, time.perf_counter() - begun)
        finally:
            if not self._is_discarded:  # else the memory may be the next shot's by now
                memory.trim()
            memory.close()
            if self._is_discarded:
                self._staging.store.discard(self.name)

    def _check_name(self, number: int, file: io.FileIO) -> None:
        """Refuse what somebody has put in the place of a file."""
        if not self._folder.leads_to(part_name(self.name, number), file):
            raise WorkerLost("the picture's file was replaced while it was written")
