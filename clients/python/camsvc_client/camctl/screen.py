"""A live view on the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from camsvc_client import Frame, LiveStatus
from camsvc_client.camctl import output, preview

_PER_SECOND = 12
"""How often the terminal is painted again, at most."""
_BORDER = 3
"""Lines of the terminal that the preview leaves free."""


class Screen:
    """A line, under the newest picture where it can be shown. Use as `async with`.

    Painting takes long, some 30 ms: a thread does it, and paints what is the newest when it comes
    to it, so that the live view is read as it comes.
    """

    def __init__(self, line: Callable[[], str], *, preview_wanted: bool) -> None:
        self._line = line
        self._preview = preview_wanted and preview.possible(output.out)
        self._live = Live(console=output.out, auto_refresh=False, transient=True)
        self._thread = ThreadPoolExecutor(1, "paint")
        self._changed = asyncio.Event()
        self._frame: Frame | None = None

    async def __aenter__(self) -> Self:
        self._live.start()
        self._painting = asyncio.create_task(self._paint_on(), name="paint")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._painting.cancel()
        await asyncio.wait([self._painting])
        await self._in_thread(self._live.stop)  # after what is being painted
        self._thread.shutdown()

    def show(self, item: Frame | LiveStatus) -> None:
        """Have an item painted."""
        self._frame = item if isinstance(item, Frame) else None
        self._changed.set()

    async def _paint_on(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._in_thread(partial(self._paint, self._frame, self._line()))
            await asyncio.sleep(1 / _PER_SECOND)

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _paint(self, frame: Frame | None, figures: str) -> None:
        line = Text.from_markup(figures)
        shown: RenderableType = line
        if self._preview and frame:
            columns, lines = output.out.size
            try:
                picture = preview.rendered(frame.data, columns, max(1, lines - _BORDER))
            except OSError:
                self._preview = False
            else:
                shown = Group(picture, line)
        self._live.update(shown, refresh=True)
