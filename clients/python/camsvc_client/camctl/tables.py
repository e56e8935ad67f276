"""Tables that fit the terminal: what names a thing is never cut, other columns are dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

_GAP = 2
_LEAST_PROSE = 24
"""Columns that prose needs next to the others; with less room, it goes below."""
_INDENT = 4


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, its least width, where its cells stand.

    In a terminal that is too narrow, those with the highest `spare` go first; 0 stays. `prose`, in
    the last column only, is broken into lines.
    """

    title: str = ""
    width: int = 0
    right: bool = False
    spare: int = 0
    prose: bool = False


def table(
    console: Console,
    columns: Sequence[Column],
    rows: Iterable[Sequence[str]],
    *,
    width: int | None,
) -> Text:
    """Return rows, whose cells may have markup, under their titles; `width` None: any."""
    titles = [Text(column.title, style="bold") for column in columns]
    lines = [[Text.from_markup(cell) for cell in row] for row in rows]
    titled = any(title.plain for title in titles)
    if titled:
        lines.insert(0, titles)
    prose = bool(columns and columns[-1].prose)
    fixed = columns[:-1] if prose else columns
    widths = [
        max([column.width, *(line[index].cell_len for line in lines)])
        for index, column in enumerate(fixed)
    ]
    shown = _fitting(fixed, widths, width)
    taken = sum(widths[index] + _GAP for index in shown)
    printed: list[Text] = []
    for number, line in enumerate(lines):
        for index in shown:
            line[index].align("right" if fixed[index].right else "left", widths[index])
        start = Text(" " * _GAP).join(line[index] for index in shown)
        if prose:
            below = width is not None and width - taken < _LEAST_PROSE
            text = Text() if below and number == 0 and titled else line[-1]
            printed += _with_prose(console, start, taken, text, width)
        else:
            printed.append(start)
    for text in printed:
        text.rstrip()
    return Text("\n").join(printed)


def _fitting(columns: Sequence[Column], widths: Sequence[int], width: int | None) -> list[int]:
    """Return which columns there is room for."""
    shown = list(range(len(columns)))
    while width is not None and sum(widths[index] + _GAP for index in shown) - _GAP > width:
        least = max(shown, key=lambda index: columns[index].spare)
        if not columns[least].spare:
            break
        shown.remove(least)
    return shown


def _with_prose(
    console: Console, start: Text, taken: int, prose: Text, width: int | None
) -> list[Text]:
    if not prose.plain:
        return [start]
    beside = width is None or width - taken >= _LEAST_PROSE
    indent = taken if beside else _INDENT
    lines = [prose] if width is None else prose.wrap(console, max(_LEAST_PROSE, width - indent))
    if beside:
        start = Text.assemble(start, " " * _GAP, lines.pop(0))
    return [start, *(Text.assemble(" " * indent, line) for line in lines)]
