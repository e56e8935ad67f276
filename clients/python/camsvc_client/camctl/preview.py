"""A picture in the terminal: two pixels to a character, by half blocks and colours.

Needs Pillow; without it, without colours or without a terminal there is no preview.
"""

from __future__ import annotations

import io
from importlib.util import find_spec

from rich.color import Color, ColorSystem
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

_HALF = "▀"
"""Its upper half is the character's colour, its lower half that of the ground."""

_COLORS = (ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT)


def possible(console: Console) -> bool:
    """Whether this terminal can show one."""
    names = {system.name.lower() for system in _COLORS} | {"256", "truecolor"}
    able = console.is_terminal and not console.no_color and console.color_system in names
    return able and not console.legacy_windows and find_spec("PIL") is not None


def rendered(data: bytes, columns: int, lines: int) -> Segments:
    """Draw an encoded picture within so many characters.

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
