"""Stills in the memory that a worker shares with the service."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from camsvc.ipc.messages import Captured, ImageInfo
from camsvc.ipc.shared_memory import STILL_SLOT, SharedBlock
from camsvc.worker_pool.process import WorkerProcess


@contextmanager
def memory() -> Iterator[SharedBlock]:
    """Give a worker's memory, without the worker."""
    block = SharedBlock.create()
    try:
        yield block
    finally:
        block.close()


def described(data: bytes, mime_type: str = "image/jpeg", **fields: Any) -> ImageInfo:
    """Return what an honest worker says of a file that it has just taken."""
    about = {"width_px": 1, "height_px": 1, "acquisition_time_ns": time.time_ns(), **fields}
    return ImageInfo(**{"size_bytes": len(data), "mime_type": mime_type, **about})


def captured(image: ImageInfo, *others: ImageInfo) -> Captured:
    """Return an answer."""
    return Captured(image, 0.0, 0.0, list(others))


def files_of(worker: WorkerProcess, answer: Captured) -> list[bytes]:
    """Return the files of a still that a worker has just taken."""
    files, place = [], 0
    for info in (answer.image, *answer.others):
        files.append(worker.memory.read(STILL_SLOT, info.size_bytes, place))
        place += info.size_bytes
    assert worker.memory.still_bytes == place
    return files
