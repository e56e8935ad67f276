"""Runs coroutines for threads, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar

from camsvc_client.connection import check_process

R = TypeVar("R")

_END_S = 5.0
"""How long the end may take, in seconds."""


class Closed(RuntimeError):
    """The client has been closed."""


class Portal:
    """An event loop in a thread of its own, on which other threads run coroutines."""

    def __init__(self) -> None:
        check_process(os.getpid())
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="camsvc-client", daemon=True)
        thread.start()
        self._process = os.getpid()
        # Also when it is garbage, and when the interpreter ends.
        self._end = weakref.finalize(self, _end, self._loop, thread, self._process)

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Wait for a coroutine. An interrupt (Ctrl-C) cancels it.

        Raises:
            RuntimeError: the portal is closed, or this process is a fork.
        """
        try:
            check_process(self._process)
            if not self._end.alive:
                raise Closed("the client is closed")
        except RuntimeError:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise Closed("the client is closed") from None  # by another thread
        finally:
            future.cancel()

    def close(self) -> None:
        """End the loop and its thread, and what runs there. May be called more than once."""
        self._end()


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread, process: int) -> None:
    if os.getpid() != process:
        return  # forked: the thread is not here
    if threading.current_thread() is thread:  # the last reference was dropped there
        loop.call_soon(loop.stop)
        return

    async def cancel_all() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            if not task.cancelling():  # a second time would cut its clean-up short
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await loop.shutdown_asyncgens()

    ends_at = time.monotonic() + _END_S
    with suppress(TimeoutError):
        asyncio.run_coroutine_threadsafe(cancel_all(), loop).result(_END_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(max(0.0, ends_at - time.monotonic()))
    if not loop.is_running():
        loop.close()
