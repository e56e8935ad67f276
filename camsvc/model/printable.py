"""Texts of others for a terminal: a camera's name, its warnings, a library's message, a file name.

They may have escapes that a terminal obeys, line breaks that look like another line of ours, or
controls of writing direction that show a name backwards.
"""

import unicodedata


def printable(text: str, keep: str = "") -> str:
    r"""Return a text with every character that is not shown as an escape, such as `\x1b`.

    Those of `keep` stay as they are, such as the line breaks of a text of several lines.
    """
    if text.isprintable():
        return text
    return "".join(c if c in keep or _is_shown(c) else _escaped(c) for c in text)


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
