"""Texts of others are shown on a terminal as text."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from camsvc.admin.report import Report
from camsvc.model.printable import printable
from camsvc.model.redaction import shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Kamera für Überblick", "Kamera für Überblick"),
        ("カメラ 一\u3000二", "カメラ 一\u3000二"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\nok\r\tb", "a\\nok\\r\\tb"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egpj.exe\u2066\u200f", "\\u202egpj.exe\\u2066\\u200f"),
        ("\u2028\ud800", "\\u2028\\ud800"),
    ],
)
def test_what_is_no_character_is_shown_as_an_escape(text: str, expected: str) -> None:
    assert printable(text) == expected
    assert printable(expected) == expected


@given(st.text())
def test_nothing_is_left_to_obey(text: str) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=1_000_000, color_system=None)
    Report(console).line("{}", text)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert said.endswith("\n")
    assert all(c.isprintable() or c.isspace() for c in said[:-1])
    assert "\n" not in said[:-1]
    assert said[:-1].rstrip() == printable(text).rstrip()
    assert shown(text).count("\n") == text.count("\n")
