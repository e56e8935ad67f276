"""Tables of camctl fit the terminal, and cut nothing off that names a thing."""

import pytest
from camsvc_client.camctl.tables import Column, table
from rich.console import Console

NAME = "a-camera-with-a-long-name"
WHY = "the cable is out: put it in and reset the camera"
COLUMNS = (
    Column("CAMERA"),
    Column("TAKEN", right=True, spare=1),
    Column("VIEWERS", right=True, spare=2),
    Column("NOTE", prose=True),
)
ROWS = [(NAME, "7", "12", ""), ("b", "1000", "0", f"[red]{WHY}[/]")]


def shown(width: int | None) -> list[str]:
    return table(Console(), COLUMNS, ROWS, width=width).plain.split("\n")


def test_for_a_pipe_nothing_is_broken_or_padded() -> None:
    title, first, second = shown(None)
    assert title == f"CAMERA{' ' * 19}  TAKEN  VIEWERS  NOTE"
    assert first == f"{NAME}      7       12"
    assert second == f"b{' ' * 24}   1000        0  {WHY}"


@pytest.mark.parametrize("width", [100, 80, 60, 41, 30])
def test_in_a_terminal_it_fits(width: int) -> None:
    lines = shown(width)
    assert max(map(len, lines)) <= width
    assert not any(line.endswith(" ") for line in lines)
    assert NAME in "\n".join(lines)
    words = " ".join(" ".join(lines).split())
    assert all(word in words for word in WHY.split()), "prose is broken into lines, and whole"


def test_what_matters_least_goes_first() -> None:
    assert shown(60)[0].split() == ["CAMERA", "TAKEN", "VIEWERS"]
    assert shown(41)[0].split() == ["CAMERA", "TAKEN", "VIEWERS"]
    assert shown(40)[0].split() == ["CAMERA", "TAKEN"]
    assert shown(30)[0].split() == ["CAMERA"]
    assert NAME in shown(10)[1], "a name stays, also where there is no room"
