"""A live view on the terminal."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import Self

from rich.color import Color, ColorSystem
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.segment import Segment, Segments
from rich.style import Style
from rich.text import Text

from camsvc_client import Frame, LiveStatus
from camsvc_client.camctl import output

_PER_SECOND = 12
"""How often the terminal is painted again, at most."""
_BORDER = 3
"""Lines of the terminal that the preview leaves free."""

_HALF = "▀"
"""Its upper half is the character's colour, its lower half that of the ground."""

_COLORS = (ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT)


class Screen:
    """A line, under the newest picture where it can be shown. Use as `async with`.

    Painting takes long, some 30 ms: a thread does it, and paints what is the newest when it comes
    to it, so that the live view is read as it comes.
    """

    def __init__(self, line: Callable[[], str], *, preview_wanted: bool) -> None:
        self._line = line
        self._preview = preview_wanted and _can_preview(output.out)
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
                picture = _preview(frame.data, columns, max(1, lines - _BORDER))
            except OSError:
                self._preview = False
            else:
                shown = Group(picture, line)
        self._live.update(shown, refresh=True)


def _can_preview(console: Console) -> bool:
    """Whether this terminal can show a picture: not without colours or Pillow."""
    names = {system.name.lower() for system in _COLORS} | {"256", "truecolor"}
    able = console.is_terminal and not console.no_color and console.color_system in names
    return able and not console.legacy_windows and find_spec("PIL") is not None


def _preview(data: bytes, columns: int, lines: int) -> Segments:
    """Draw an encoded picture within so many characters: two pixels to each, by half blocks.

    Raises:
        OSError: Pillow cannot read it.
    """
    import PIL.Image  # noqa: PLC0415 - optional

    with PIL.Image.open(io.BytesIO(data)) as picture:
        picture.draft("RGB", (columns, 2 * lines))  # a JPEG is decoded small, which is quick
        small = picture.convert("RGB")
    small.thumbnail((columns, 2 * lines))
    width, height = small.size
    pixels = small.tobytes()

    def color(x: int, y: int) -> Color:
        at = 3 * (y * width + x)
        return Color.from_rgb(*pixels[at : at + 3])

    segments: list[Segment] = []
    for y in range(0, height - 1, 2):
        segments += [
            Segment(_HALF, Style.from_color(color(x, y), color(x, y + 1))) for x in range(width)
        ]
        segments.append(Segment.line())
    return Segments(segments)
