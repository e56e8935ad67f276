"""Threads for what waits for the disk, a pool for each purpose: none waits for another's."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """A pool. Its methods are for the event loop's thread."""

    def __init__(self, name: str, most: int) -> None:
        self._pool = ThreadPoolExecutor(most, name)

    def start(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Begin work; nobody has to ask for its outcome."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        future.add_done_callback(_outcome)
        return future

    async def run(self, work: Callable[[], T], undo: Callable[[T], object]) -> T:
        """Return what work returns. Where the caller leaves meanwhile, that is undone, on the loop.

        Raises whatever the work does.
        """
        future = self.start(work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(lambda done: _outcome(done) or undo(done.result()))
            raise

    async def close(self) -> None:
        """Let what was begun end."""
        await asyncio.to_thread(self._pool.shutdown)


def _outcome(future: "asyncio.Future[Any]") -> BaseException | None:
    return None if future.cancelled() else future.exception()
