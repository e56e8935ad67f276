"""Texts of others in Rich's markup: what a service passes on from its cameras, and from clients.

They may have markup, escapes that a terminal obeys, line breaks that look like another line of
ours, or controls of writing direction that show a name backwards.
"""

from __future__ import annotations

import unicodedata

from rich.markup import escape


def plain(text: str) -> str:
    r"""Return markup that shows a text as it is, in one line; what is no character as `\x1b`."""
    if not text.isprintable():
        text = "".join(c if _is_shown(c) else c.encode("unicode_escape").decode() for c in text)
    return escape(text)


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"
